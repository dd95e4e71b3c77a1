import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";

export interface ForgottenLimitsDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** What an operator can do about it. */
  readonly advice: string;
}

const WARN_EVERY_MS = 600_000;

/**
 * Tells of limits that were in use and had to be forgotten for want of room: each of them begins anew, and admits up to
 * one L more. A count for metrics, and a warning at most every ten minutes.
 */
export class ForgottenLimits {
  readonly #deps: ForgottenLimitsDeps;
  #count = 0;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ForgottenLimitsDeps) {
    this.#deps = deps;
  }

  /** Since the start. */
  get count(): number {
    return this.#count;
  }

  note(): void {
    this.#count++;
    const { clock, log, advice } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = nowMs;
    log.warn(`more limits are in use than this process keeps: those counted longest ago begin anew; ${advice}`, {
      forgotten: this.#count,
    });
  }
}
