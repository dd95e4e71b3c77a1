import type { AgeClock, Timers } from "../lib/clock.ts";
import { StallWatch } from "./stall-watch.ts";

/** How often an open breaker probes the database. */
const PROBE_EVERY_MS = 500;

/**
 * The circuit breaker of the database. A failed read opens it; any answer closes it. While it is open, no caller's read
 * goes to the database, and the breaker itself probes once in PROBE_EVERY_MS. So callers never wait for a probe, and
 * the breaker notices the end of an outage even without traffic.
 */
export class DatabaseBreaker {
  /**
   * Detects stalls while reads are under way: a read that failed because this process stood still says nothing about
   * the database.
   */
  readonly stalls: StallWatch;
  readonly #timers: Timers;
  readonly #probe: () => Promise<unknown>;
  #isOpen = false;
  #isStopped = false;
  #cancelProbe: () => void = () => {};

  /** @param probe a read like the hot reads, which rejects when they would */
  constructor(clock: AgeClock, timers: Timers, probe: () => Promise<unknown>) {
    this.#timers = timers;
    this.#probe = probe;
    this.stalls = new StallWatch(clock, timers);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  failed(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#probeLater();
  }

  succeeded(): void {
    this.#isOpen = false;
    this.#cancelProbe();
  }

  /** Ends the probes. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelProbe();
  }

  #probeLater(): void {
    if (this.#isStopped) return;
    this.#cancelProbe = this.#timers.after(PROBE_EVERY_MS, () => {
      this.#probeLater();
      this.#probe().then(
        () => this.succeeded(),
        () => {},
      );
    });
  }
}
