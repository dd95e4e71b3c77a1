import { type AgeClock, MAX_UNNOTICED_MS } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";

/** The least lead is remembered for at least this time: what is 5 s old, or stale for 60 s more, has a time of its own. */
const REMEMBERED_MS = 70_000;

/**
 * The database's clock, as this process knows it. Verdicts use it, so that a host whose own clock is wrong turns no
 * good key EXPIRED. Between two observations it advances by the monotonic clock.
 */
export class DatabaseClock {
  readonly #clock: AgeClock;
  /** What the database's clock is ahead of the monotonic one. */
  #offsetMs: number | undefined;
  /** `skippedMs` as of the last statement that was sent after the last skip. */
  #knownSkippedMs = 0;
  /** The least that the database's clock was ahead of `elapsedMs`, as of the last answer. */
  #leastAheadMs = Number.POSITIVE_INFINITY;
  /** The same since `#sinceMs`, and for the REMEMBERED_MS or more before that. */
  #leastSinceMs = Number.POSITIVE_INFINITY;
  #leastBeforeMs = Number.POSITIVE_INFINITY;
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(clock: AgeClock) {
    this.#clock = clock;
  }

  /** Milliseconds since the epoch by the database; by this host until the first observation. */
  nowMs(): number {
    return this.#offsetMs === undefined ? this.#clock.nowMs() : this.#clock.monotonicMs() + this.#offsetMs;
  }

  /**
   * The database's time at a moment of this process, never later than it was. The clock may have lost up to
   * MAX_UNNOTICED_MS since then without notice, which an answer of the database has corrected: the present lead would
   * make the moment later than it was. So the least lead counts that was known within the last REMEMBERED_MS.
   *
   * @param elapsedMs by `clock.elapsedMs`
   */
  at(elapsedMs: number): number {
    if (this.#offsetMs === undefined) return this.#clock.nowMs() - (this.#clock.elapsedMs() - elapsedMs);
    return elapsedMs + Math.min(this.#leastAheadMs, this.#offsetMs - this.#clock.skippedMs);
  }

  /**
   * How much later than `nowMs` it may be, because this machine was suspended and no statement was answered since that
   * was sent after it. 0 at all other times.
   */
  get doubtMs(): number {
    return this.#offsetMs === undefined ? 0 : this.#clock.skippedMs - this.#knownSkippedMs;
  }

  /**
   * What holds by the database's time now.
   * @param judge what holds at a time
   * @throws DATABASE_UNAVAILABLE where that depends on how long this machine was suspended
   */
  judge<T>(judge: (nowMs: number) => T): T {
    const nowMs = this.nowMs();
    const judgement = judge(nowMs);
    if (this.doubtMs > 0 && judge(nowMs + this.doubtMs) !== judgement) {
      throw new DomainError("DATABASE_UNAVAILABLE", "the database's time is not known; try again", {
        retryAfterMs: 1000,
      });
    }
    return judgement;
  }

  /**
   * Takes note of what the database's clock showed. What was known before is kept as far as it agrees: of the answers
   * that this one does not contradict, the quickest is the nearest to the truth, and a slow one moves nothing. What is
   * kept is never ahead of the database, so that no `as_of` promises too much and no key expires early; it is behind by
   * at most the time of the quickest answer.
   *
   * @param databaseMs what a statement returned, and the database showed at some time after it was sent and before now
   * @param sentAtMs   `elapsedMs` just before the statement was sent
   */
  observe(databaseMs: number, sentAtMs: number): void {
    const { skippedMs, skippedAtMs } = this.#clock;
    const leastMs = databaseMs - this.#clock.monotonicMs();
    // Where the machine was suspended on the way, the answer may be as old as that.
    const mostMs = databaseMs - (sentAtMs - skippedMs);
    this.#offsetMs = Math.min(Math.max(this.#offsetMs ?? leastMs, leastMs), mostMs);
    if (sentAtMs >= skippedAtMs) this.#knownSkippedMs = skippedMs;
    this.#remember(this.#offsetMs - skippedMs, sentAtMs);
  }

  #remember(aheadMs: number, atMs: number): void {
    if (atMs - this.#sinceMs > REMEMBERED_MS) {
      this.#leastBeforeMs = this.#leastSinceMs;
      this.#leastSinceMs = aheadMs;
      this.#sinceMs = atMs;
    }
    this.#leastSinceMs = Math.min(this.#leastSinceMs, aheadMs);
    const leastMs = Math.min(this.#leastBeforeMs, this.#leastSinceMs);
    // A greater step is no suspension: the database's clock was set.
    this.#leastAheadMs = Math.max(leastMs, aheadMs - MAX_UNNOTICED_MS);
  }
}
