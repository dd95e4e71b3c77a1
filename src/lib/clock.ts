/**
 * The only home of time. Everything that waits, expires or measures takes a Clock, so that a test can move time.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, by this host. It may jump in either direction. */
  nowMs(): number;
  /**
   * Milliseconds since some moment. Never goes back; use it for timeouts, durations and what counts in windows. On Linux it
   * stands still while the machine is suspended.
   */
  monotonicMs(): number;
}

/** A clock by which copies of the truth have an age. */
export interface AgeClock extends Clock {
  /**
   * As `monotonicMs`, and ahead of it by the time for which the machine was suspended, as far as the host's clock shows
   * that (ADR 27). It runs ahead as well where the host's clock was only set forward: an age by it may be too great, and
   * is at most MAX_UNNOTICED_MS too small.
   */
  elapsedMs(): number;
  /** By how much `elapsedMs` is ahead of `monotonicMs`, as of the last time that it was asked for. */
  readonly skippedMs: number;
  /** `elapsedMs` when it was last seen to skip; `-Infinity` before. */
  readonly skippedAtMs: number;
}

/** A suspension, or several together, of at most this time shows in no `elapsedMs`. */
export const MAX_UNNOTICED_MS = 1000;

/** The clock that notices suspensions by what a host shows. */
export class SkippingClock implements AgeClock {
  readonly #host: Clock;
  #skippedMs = 0;
  #skippedAtMs = Number.NEGATIVE_INFINITY;
  /** The least that the host's clock was ahead of the monotonic one since the last skip. */
  #leastAheadMs = Number.POSITIVE_INFINITY;

  constructor(host: Clock) {
    this.#host = host;
  }

  get skippedMs(): number {
    return this.#skippedMs;
  }

  get skippedAtMs(): number {
    return this.#skippedAtMs;
  }

  nowMs(): number {
    return this.#host.nowMs();
  }

  monotonicMs(): number {
    return this.#host.monotonicMs();
  }

  elapsedMs(): number {
    // In this order: a pause between the two makes the difference greater, never smaller.
    const monotonicMs = this.#host.monotonicMs();
    const aheadMs = this.#host.nowMs() - monotonicMs;
    if (aheadMs < this.#leastAheadMs) {
      this.#leastAheadMs = aheadMs;
    } else if (aheadMs - this.#leastAheadMs > MAX_UNNOTICED_MS) {
      this.#skippedMs += aheadMs - this.#leastAheadMs;
      this.#leastAheadMs = aheadMs;
      this.#skippedAtMs = monotonicMs + this.#skippedMs;
    }
    return monotonicMs + this.#skippedMs;
  }
}

export const systemClock: AgeClock = new SkippingClock({
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
});

/** What runs later. Beside the clock, so that a simulation can run both. */
export interface Timers {
  /** Runs once, `ms` from now, unless the function that it returns is called before. Keeps no process alive. */
  after(ms: number, run: () => void): () => void;
  /** Runs once, after what arrived already has been handled. */
  nextTurn(run: () => void): void;
}

export const systemTimers: Timers = Object.freeze({
  after: (ms: number, run: () => void) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  nextTurn: (run: () => void) => void setImmediate(run),
});
