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
   * Takes note of what the database's clock showed.
   * @param databaseMs what a statement returned
   * @param sentAtMs   monotonic time just before the statement was sent; the database read its clock later than that,
   *                   so the time kept here is never ahead of the database's by more than the way there
   */
  observe(databaseMs: number, sentAtMs: number): void {
    this.#offsetMs = databaseMs - sentAtMs;
  }
}
