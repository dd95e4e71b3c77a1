import { type Clock, SkippingClock, systemClock } from "../../src/lib/clock.ts";

/** Real time plus a shift that a test moves. The database's time is shifted by the same amount. */
export class ShiftedClock extends SkippingClock {
  readonly #shift: Shift;

  constructor(host: Clock = systemClock) {
    const shift = { wallMs: 0, monotonicMs: 0, databaseMs: 0 };
    super({
      nowMs: () => host.nowMs() + shift.wallMs,
      monotonicMs: () => host.monotonicMs() + shift.monotonicMs,
    });
    this.#shift = shift;
  }

  /** Lets `ms` pass immediately. */
  advance(ms: number): void {
    this.suspend(ms);
    this.#shift.monotonicMs += ms;
  }

  /** Lets `ms` pass immediately as a suspension of this machine. */
  suspend(ms: number): void {
    this.#shift.wallMs += ms;
    this.#shift.databaseMs += ms;
  }

  /** Total time of all suspensions. */
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

/** A clock that stands still unless a test moves it. It is for parts without a database, whose time would go on. */
export class StandingClock extends ShiftedClock {
  constructor() {
    // Whole milliseconds, whose sums are exact.
    const [nowMs, monotonicMs] = [Math.floor(systemClock.nowMs()), Math.floor(systemClock.monotonicMs())];
    super({ nowMs: () => nowMs, monotonicMs: () => monotonicMs });
  }
}

interface Shift {
  wallMs: number;
  monotonicMs: number;
  databaseMs: number;
}
