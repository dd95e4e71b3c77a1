import { type Clock, systemClock } from "../../lib/clock.ts";
import type { ErrorLine, Log, LogFields } from "../../lib/log.ts";
import { codeOf } from "./driver-errors.ts";
import { SQL_STATES } from "./sql-states.ts";

/** Minimum time between two lines about one code, whatever the number of calls that meet it. */
const LOG_EVERY_MS = 60_000;

/**
 * Logs what PostgreSQL refuses and what to do about it, unless it is an outage that ends by itself. Callers get
 * UNAVAILABLE in either case, because the truth can't be read.
 */
export class SqlStateAlarm {
  readonly #log: Log | undefined;
  readonly #clock: Clock;
  /** By code: when it was logged last, and how often it was met since. */
  readonly #logged = new Map<string, { atMs: number; unlogged: number }>();

  constructor(log: Log | undefined, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Call it with every error of the driver. */
  met(error: unknown): void {
    const code = codeOf(error) ?? "";
    const state = SQL_STATES[code];
    if (state === undefined || state.ending === "by_itself") return;
    const { name, meaning, todo } = state;
    this.#tell(code, "PostgreSQL refuses what the service asks", { name, meaning, todo });
  }

  /** Logs an error of a hot read that no caller can cause and sql-states.ts does not know. */
  unforeseen(error: unknown): void {
    const message = "a hot read failed with an unknown error; the database counts as unreachable";
    this.#tell(codeOf(error) ?? "none", message, {}, error);
  }

  #tell(code: string, message: ErrorLine, fields: LogFields, cause?: unknown): void {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#logged.get(code);
    if (before !== undefined && nowMs - before.atMs < LOG_EVERY_MS) {
      before.unlogged++;
      return;
    }
    this.#logged.set(code, { atMs: nowMs, unlogged: 0 });
    this.#log?.error(message, { code, ...fields, untold_before: before?.unlogged ?? 0 }, cause);
  }
}
