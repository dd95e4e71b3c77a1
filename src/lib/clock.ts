/**
 * The source of time. Everything that waits, expires or measures takes a Clock, so that a test can move time. Only this
 * file reads the host's time.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, by this host's clock. It may jump in either direction. */
  nowMs(): number;
  /**
   * Milliseconds since an arbitrary moment. Never goes back; use it for timeouts, durations and sliding windows. On
   * Linux it stands still while the machine is suspended.
   */
  monotonicMs(): number;
}

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** A clock that also measures the age of copies of the database's data. */
export interface AgeClock extends Clock {
  /**
   * `monotonicMs` plus the time for which the machine was suspended, as far as the host's clock shows it (ADR 27). It
   * also runs ahead if the host's clock was only set forward. So an age by this clock may be too large, but is at most
   * MAX_UNNOTICED_MS too small.
   */
  elapsedMs(): number;
  /** How far `elapsedMs` was ahead of `monotonicMs` when it was last read. */
  readonly skippedMs: number;
  /** `elapsedMs` when its last skip was noticed; `-Infinity` before any. */
  readonly skippedAtMs: number;
}

/** Suspensions of at most this time in total do not show in `elapsedMs`. */
export const MAX_UNNOTICED_MS = 1000;

/** The clock that notices suspensions by comparing the host's clock with the monotonic clock. */
export class SkippingClock implements AgeClock {
  readonly #host: Clock;
  #skippedMs = 0;
  #skippedAtMs = Number.NEGATIVE_INFINITY;
  /** The smallest lead of the host's clock over the monotonic clock since the last skip. */
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
    // In this order: a pause between the two reads makes the difference larger, never smaller.
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

/** Timers for work that runs later. Separate from the clock, so that a simulation can replace both. */
export interface Timers {
  /** Runs `run` once, `ms` from now. The returned function cancels it. Keeps no process alive. */
  after(ms: number, run: () => void): () => void;
  /** Runs `run` once in a later event-loop tick, after everything that has arrived already was handled. */
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
