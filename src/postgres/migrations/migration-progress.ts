import type { Log, LogFields } from "../../lib/log.ts";

/** Interval of the log lines while migrations run. */
export const LOG_EVERY_MS = 2000;

/** Logs a line every 2 s while migrations run, because a migration of a large table may take minutes. */
export class MigrationProgress {
  readonly #timer: NodeJS.Timeout;
  #fields: LogFields = {};
  #seconds = 0;

  constructor(log: Log | undefined) {
    this.#timer = setInterval(() => {
      this.#seconds += LOG_EVERY_MS / 1000;
      log?.info("the schema is being applied", { ...this.#fields, for_seconds: this.#seconds });
    }, LOG_EVERY_MS);
    this.#timer.unref();
  }

  /** The migration that runs now, and what is known of it. */
  at(migration: string, facts: LogFields = {}): void {
    this.#fields = { migration, ...facts };
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
