import type { AgeClock, Timers } from "../lib/clock.ts";
import { StallWatch } from "./stall-watch.ts";

/** While the breaker is open, one read in this time may try the database. */
const PROBE_EVERY_MS = 500;

/**
 * The circuit breaker of the database. A failed read opens it; any answer closes it. While it is open (half-open
 * probe), one read in PROBE_EVERY_MS may try. If no caller's read tries, the breaker probes by itself. Without that,
 * with little traffic, the end of an outage would go unnoticed until the change feed's next connection, up to 5 s
 * later.
 */
export class DatabaseBreaker {
  /**
   * Detects stalls while reads are under way: a read that failed because this process stood still says nothing about
   * the database.
   */
  readonly stalls: StallWatch;
  readonly #clock: AgeClock;
  readonly #timers: Timers;
  readonly #probe: () => Promise<unknown>;
  #isOpen = false;
  #isStopped = false;
  #probedAtMs = Number.NEGATIVE_INFINITY;
  #cancelProbe: () => void = () => {};

  /** @param probe a read like the hot reads, which rejects when they would */
  constructor(clock: AgeClock, timers: Timers, probe: () => Promise<unknown>) {
    this.#clock = clock;
    this.#timers = timers;
    this.#probe = probe;
    this.stalls = new StallWatch(clock, timers);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Whether a read may go to the database now. While the breaker is open, `true` uses up the probe of this
   * PROBE_EVERY_MS.
   */
  mayRead(): boolean {
    if (!this.#isOpen) return true;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#probedAtMs < PROBE_EVERY_MS) return false;
    this.#probedAtMs = nowMs;
    return true;
  }

  failed(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#probedAtMs = this.#clock.monotonicMs();
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
      if (!this.mayRead()) return;
      this.#probe().then(
        () => this.succeeded(),
        () => {},
      );
    });
  }
}
