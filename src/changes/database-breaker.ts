import type { AgeClock, Timers } from "../lib/clock.ts";
import { StallWatch } from "./stall-watch.ts";

/** While the database is away one read in this time may try it. */
const PROBE_EVERY_MS = 500;

/**
 * Whether the database is worth asking. Opened by a failed read, closed by any answer: while it is open nobody waits for
 * a timeout but the one read that tries.
 */
export class DatabaseBreaker {
  /** Watches while reads are under way: what failed because this process stood still says nothing of the database. */
  readonly stalls: StallWatch;
  readonly #clock: AgeClock;
  #isOpen = false;
  #probedAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: AgeClock, timers: Timers) {
    this.#clock = clock;
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
    if (!this.#isOpen) this.#probedAtMs = this.#clock.monotonicMs();
    this.#isOpen = true;
  }

  succeeded(): void {
    this.#isOpen = false;
  }
}
