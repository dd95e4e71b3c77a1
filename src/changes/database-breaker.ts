import type { AgeClock, Timers } from "../lib/clock.ts";
import { StallWatch } from "./stall-watch.ts";

/** While the database is away one read in this time may try it. */
const PROBE_EVERY_MS = 500;

/**
 * Whether the database is worth asking. A failed read opens it, any answer closes it. While it is open, one read in
 * PROBE_EVERY_MS may try. Where no caller's read does, the breaker tries by itself: with little traffic the end of an
 * outage would go unnoticed until the change feed's next connection, up to 5 s later.
 */
export class DatabaseBreaker {
  /** Watches while reads are under way: what failed because this process stood still says nothing of the database. */
  readonly stalls: StallWatch;
  readonly #clock: AgeClock;
  readonly #timers: Timers;
  readonly #probe: () => Promise<unknown>;
  #isOpen = false;
  #isStopped = false;
  #probedAtMs = Number.NEGATIVE_INFINITY;
  #cancelProbe: () => void = () => {};

  /** @param probe a read as hot reads are, which rejects where they would */
  constructor(clock: AgeClock, timers: Timers, probe: () => Promise<unknown>) {
    this.#clock = clock;
    this.#timers = timers;
    this.#probe = probe;
    this.stalls = new StallWatch(clock, timers);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether a read may go to the database now. While the breaker is open, asking takes the turn. */
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

  /** No probe begins from now on. */
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
