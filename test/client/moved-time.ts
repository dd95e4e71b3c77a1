import { SkippingClock, type Timers } from "../../src/lib/clock.ts";
import { VirtualTime } from "../simulation/virtual-time.ts";

const BEGAN_AT_MS = Date.UTC(2026, 0, 1);

/** The time of a client in a test: it passes only when the test says so. */
export class MovedTime implements Timers {
  readonly #time = new VirtualTime();
  /** Added to the host's clock alone. */
  #wallMs = 0;
  readonly clock = new SkippingClock({
    nowMs: () => BEGAN_AT_MS + this.#time.nowMs + this.#wallMs,
    monotonicMs: () => this.#time.nowMs,
  });

  get nowMs(): number {
    return this.#time.nowMs;
  }

  after(ms: number, run: () => void): () => void {
    let isCancelled = false;
    this.#time.after(ms, () => {
      if (!isCancelled) run();
    });
    return () => {
      isCancelled = true;
    };
  }

  nextTurn(run: () => void): void {
    this.after(0, run);
  }

  /** Runs all timers of the next `ms`, and follows what they settle. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#time.nowMs + ms;
    this.#time.after(ms, () => {});
    await this.#time.runUntil(endMs, () => false);
  }

  /** Suspends the machine: its host's clock goes on, and nothing else. */
  suspend(ms: number): void {
    this.#wallMs += ms;
  }
}
