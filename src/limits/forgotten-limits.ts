import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";

export interface ForgottenLimitsDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Advice for the operator: what to do. The log line ends with it. */
  readonly advice: string;
}

const WARN_EVERY_MS = 600_000;

/**
 * Counts the limits that were forgotten while they were in use, because memory had no room for them. A forgotten limit
 * starts again at 0, so it may admit up to its whole figure once more. The count is a metric; a warning is logged at
 * most once in 10 minutes.
 */
export class ForgottenLimits {
  readonly #deps: ForgottenLimitsDeps;
  #count = 0;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ForgottenLimitsDeps) {
    this.#deps = deps;
  }

  /** How many limits were forgotten since the process started. */
  get count(): number {
    return this.#count;
  }

  note(): void {
    this.#count++;
    const { clock, log, advice } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    const fields = { forgotten: this.#count, advice };
    log.warn("more limits are in use than this process can keep: the least recently counted start again at 0", fields);
  }
}
