import { type AgeClock, MAX_UNNOTICED_MS } from "../lib/clock.ts";
import { databaseUnavailable } from "../lib/errors.ts";

/**
 * The smallest lead is remembered for at least this time. It covers records that are 5 s old, plus 60 s of stale
 * service.
 */
const REMEMBERED_MS = 70_000;

/**
 * The database's clock, as this process knows it. Verdicts use it, so that a host whose own clock is wrong never
 * reports a good key as EXPIRED. Between two observations it advances with the monotonic clock.
 */
export class DatabaseClock {
  readonly #clock: AgeClock;
  /** How far the database's clock is ahead of the monotonic clock. */
  #offsetMs: number | undefined;
  /** `skippedMs` as of the last answer to a statement that was sent after the latest suspension. */
  #knownSkippedMs = 0;
  /** The smallest lead of the database's clock over `elapsedMs`, as of the last answer. */
  #leastAheadMs = Number.POSITIVE_INFINITY;
  /** The smallest lead since `#sinceMs`, and in the period before that, which lasted REMEMBERED_MS or more. */
  #leastSinceMs = Number.POSITIVE_INFINITY;
  #leastBeforeMs = Number.POSITIVE_INFINITY;
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(clock: AgeClock) {
    this.#clock = clock;
  }

  /**
   * Milliseconds since the epoch, by the database's clock; by this host's clock until the first observation.
   *
   * @param elapsedMs `elapsedMs` of now, for a caller that has just read it
   */
  nowMs(elapsedMs?: number): number {
    if (this.#offsetMs === undefined) return this.#clock.nowMs();
    const monotonicMs = elapsedMs === undefined ? this.#clock.monotonicMs() : elapsedMs - this.#clock.skippedMs;
    return monotonicMs + this.#offsetMs;
  }

  /**
   * The database's time at a moment of this process, never later than the true one. This process's clock may have lost
   * up to MAX_UNNOTICED_MS since that moment, and a later answer of the database corrects it. The present lead would
   * then return a time that is too late. So this uses the smallest lead of the last REMEMBERED_MS.
   *
   * @param elapsedMs by `clock.elapsedMs`
   */
  at(elapsedMs: number): number {
    if (this.#offsetMs === undefined) return this.#clock.nowMs() - (this.#clock.elapsedMs() - elapsedMs);
    return elapsedMs + Math.min(this.#leastAheadMs, this.#offsetMs - this.#clock.skippedMs);
  }

  /**
   * How much later than `nowMs` the time may be: this machine was suspended, and no statement sent after that was
   * answered yet. 0 at all other times.
   */
  get doubtMs(): number {
    return this.#offsetMs === undefined ? 0 : this.#clock.skippedMs - this.#knownSkippedMs;
  }

  /**
   * As `nowMs`; undefined while this process does not know the time: before the first observation, and while in doubt.
   */
  knownMs(elapsedMs?: number): number | undefined {
    return this.#offsetMs === undefined || this.doubtMs > 0 ? undefined : this.nowMs(elapsedMs);
  }

  /**
   * Judges by the database's time now.
   *
   * @param judge returns the judgement at a time
   * @throws DATABASE_UNAVAILABLE if the judgement depends on how long this machine was suspended
   */
  judge<T>(judge: (nowMs: number) => T): T {
    const nowMs = this.nowMs();
    const judgement = judge(nowMs);
    if (this.doubtMs > 0 && judge(nowMs + this.doubtMs) !== judgement) {
      throw databaseUnavailable("the database's time is not known; try again");
    }
    return judgement;
  }

  /**
   * Takes an observation of the database's clock. It changes the known offset only as far as the observation
   * contradicts it. So the quickest of several answers that agree counts, and a slow one changes nothing. The offset is
   * never ahead of the database, so no `as_of` is too late and no key expires early. It is behind by at most the
   * duration of the quickest answer.
   *
   * @param databaseMs returned by a statement: the database's time at some moment after it was sent and before now
   * @param sentAtMs   `elapsedMs` just before the statement was sent
   */
  observe(databaseMs: number, sentAtMs: number): void {
    const { skippedMs, skippedAtMs } = this.#clock;
    const leastMs = databaseMs - this.#clock.monotonicMs();
    // If the machine was suspended meanwhile, the answer may be as old as the suspension was long.
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
    // A larger step is no suspension: the database's clock was set.
    this.#leastAheadMs = Math.max(leastMs, aheadMs - MAX_UNNOTICED_MS);
  }
}
