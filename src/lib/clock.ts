/**
 * The only home of time. Everything that waits, expires or measures takes a Clock, so that a test can move time.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, by this host. It may jump in either direction. */
  nowMs(): number;
  /** Milliseconds since some moment. Never goes back; use it for ages and timeouts. */
  monotonicMs(): number;
}

export const systemClock: Clock = Object.freeze({
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
