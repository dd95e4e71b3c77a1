import { type Clock, systemClock } from "../lib/clock.ts";
import type { ErrorLine, Log, LogFields } from "../lib/log.ts";
import { codeOf } from "./conflicts.ts";
import { SQL_STATES } from "./sql-states.ts";

/** Of one code there is at most one line in this time, however many calls meet it. */
const TELL_EVERY_MS = 60_000;

/**
 * Tells in the log what PostgreSQL refuses and what to do, where that is no outage that ends by itself. Callers are told
 * UNAVAILABLE either way: what is true can't be found out.
 */
export class SqlStateAlarm {
  readonly #log: Log | undefined;
  readonly #clock: Clock;
  readonly #told = new Map<string, { atMs: number; untold: number }>();

  constructor(log: Log | undefined, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** To be called with every error of the driver. */
  met(error: unknown): void {
    const code = codeOf(error) ?? "";
    const state = SQL_STATES[code];
    if (state === undefined || state.ending === "by_itself") return;
    const { name, meaning, todo } = state;
    this.#tell(code, "PostgreSQL refuses what the service asks", { name, meaning, todo });
  }

  /** A hot read failed by what no caller can cause and no table knows. */
  unforeseen(error: unknown): void {
    const message = "a hot read failed for an unforeseen reason; it counts as an unreachable database";
    this.#tell(codeOf(error) ?? "none", message, {}, error);
  }

  #tell(code: string, message: ErrorLine, fields: LogFields, cause?: unknown): void {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#told.get(code);
    if (before !== undefined && nowMs - before.atMs < TELL_EVERY_MS) {
      before.untold++;
      return;
    }
    this.#told.set(code, { atMs: nowMs, untold: 0 });
    this.#log?.error(message, { code, ...fields, untold_before: before?.untold ?? 0 }, cause);
  }
}
