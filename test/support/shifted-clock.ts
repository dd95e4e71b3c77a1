import { SkippingClock, systemClock } from "../../src/lib/clock.ts";

/** Real time plus a shift that a test moves. The database's time is shifted by the same amount. */
export class ShiftedClock extends SkippingClock {
  readonly #shift: Shift;

  constructor() {
    const shift = { wallMs: 0, monotonicMs: 0, databaseMs: 0 };
    super({
      nowMs: () => systemClock.nowMs() + shift.wallMs,
      monotonicMs: () => systemClock.monotonicMs() + shift.monotonicMs,
    });
    this.#shift = shift;
  }

  /** Lets `ms` pass at once. */
  advance(ms: number): void {
    this.suspend(ms);
    this.#shift.monotonicMs += ms;
  }

  /** Lets `ms` pass at once while this machine is suspended. */
  suspend(ms: number): void {
    this.#shift.wallMs += ms;
    this.#shift.databaseMs += ms;
  }

  /** For how long it was suspended in all. */
  get suspendedMs(): number {
    return this.#shift.databaseMs - this.#shift.monotonicMs;
  }

  /** Sets this host's clock, and no other. */
  jump(ms: number): void {
    this.#shift.wallMs += ms;
  }

  shiftMs(): number {
    return this.#shift.databaseMs;
  }
}

interface Shift {
  wallMs: number;
  monotonicMs: number;
  databaseMs: number;
}
