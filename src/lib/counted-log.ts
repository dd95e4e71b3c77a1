import type { Log } from "./log.ts";

/** The number of lines of a message at a level. */
export interface LineCount {
  readonly level: "warn" | "error";
  readonly message: string;
  readonly count: number;
}

/**
 * A log that counts the warnings and errors that pass through it, by message. Messages are the rows of the table of log
 * lines, so their number is bounded, and none has a client's text in it. Lines of the level info are not counted: calls
 * have counts of their own.
 */
export class CountedLog implements Log {
  readonly #log: Log;
  readonly #counts = { warn: new Map<string, number>(), error: new Map<string, number>() };
  readonly info: Log["info"];
  readonly flush: Log["flush"];

  constructor(log: Log) {
    this.#log = log;
    this.info = (message, fields) => log.info(message, fields);
    this.flush = () => log.flush();
  }

  readonly warn: Log["warn"] = (message, fields) => {
    this.#count("warn", message);
    this.#log.warn(message, fields);
  };

  readonly error: Log["error"] = (message, fields, cause) => {
    this.#count("error", message);
    this.#log.error(message, fields, cause);
  };

  droppedLines(): number {
    return this.#log.droppedLines?.() ?? 0;
  }

  /** Number of errors with a message since the start. */
  errors(message: Parameters<Log["error"]>[0]): number {
    return this.#counts.error.get(message) ?? 0;
  }

  /** Number of lines of each message that was written since the start. */
  *lines(): Generator<LineCount> {
    for (const level of ["error", "warn"] as const) {
      for (const [message, count] of this.#counts[level]) yield { level, message, count };
    }
  }

  #count(level: LineCount["level"], message: string): void {
    const counts = this.#counts[level];
    counts.set(message, (counts.get(message) ?? 0) + 1);
  }
}
