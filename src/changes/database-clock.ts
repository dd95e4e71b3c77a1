import type { Clock } from "../lib/clock.ts";

/**
 * The database's clock, as this process knows it. Verdicts use it, so that a host whose own clock is wrong turns no
 * good key EXPIRED. Between two observations it advances by the monotonic clock.
 */
export class DatabaseClock {
  readonly #clock: Clock;
  #offsetMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the epoch by the database; by this host until the first observation. */
  nowMs(): number {
    return this.#offsetMs === undefined ? this.#clock.nowMs() : this.#clock.monotonicMs() + this.#offsetMs;
  }

  /**
   * Takes note of what the database's clock showed. What was known before is kept as far as it agrees: of the answers
   * that this one does not contradict, the quickest is the nearest to the truth, and a slow one moves nothing. What is
   * kept is never ahead of the database, so that no `as_of` promises too much and no key expires early; it is behind by
   * at most the time of the quickest answer.
   *
   * @param databaseMs what a statement returned, and the database showed at some time after it was sent and before now
   * @param sentAtMs   monotonic time just before the statement was sent
   */
  observe(databaseMs: number, sentAtMs: number): void {
    const leastMs = databaseMs - this.#clock.monotonicMs();
    const mostMs = databaseMs - sentAtMs;
    this.#offsetMs = Math.min(Math.max(this.#offsetMs ?? leastMs, leastMs), mostMs);
  }
}
