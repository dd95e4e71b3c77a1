import type { Clock } from "../../src/lib/clock.ts";
import { systemClock } from "../../src/lib/clock.ts";

/** Real time plus a shift that a test moves. The database's time is shifted by the same amount. */
export class ShiftedClock implements Clock {
  #shiftMs = 0;

  nowMs(): number {
    return systemClock.nowMs() + this.#shiftMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#shiftMs;
  }

  /** Lets `ms` pass at once. */
  advance(ms: number): void {
    this.#shiftMs += ms;
  }

  shiftMs(): number {
    return this.#shiftMs;
  }
}
