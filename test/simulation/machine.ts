import type { Clock, Timers } from "../../src/lib/clock.ts";
import type { SeededRandom } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

type Cause = "timer" | "network" | "turn";

/**
 * What one process of the service runs on: its clocks, which agree with nobody's, its timers, and the moments at which
 * it does not run at all. What comes meanwhile waits, and is handled when it runs again: due timers and arrived answers
 * in either order, as the event loop happened to stand.
 */
export class Machine {
  readonly clock: Clock;
  readonly timers: Timers;
  /** When it last ran again after it had not; true time. */
  resumedAtMs = Number.NEGATIVE_INFINITY;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #bootedAtMs: number;
  #wallOffsetMs: number;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;
  #stoodStillMs = 0;
  #ranBeforeMs = 0;
  #waiting: { readonly cause: Cause; readonly run: () => void }[] = [];

  constructor(time: VirtualTime, random: SeededRandom) {
    this.#time = time;
    this.#random = random;
    this.#bootedAtMs = random.between(-1e6, -1e3);
    this.#wallOffsetMs = random.between(-7.2e6, 7.2e6);
    this.clock = { nowMs: () => time.nowMs + this.#wallOffsetMs, monotonicMs: () => time.nowMs - this.#bootedAtMs };
    this.timers = {
      after: (ms, run) => this.#later("timer", ms + random.next(), run),
      nextTurn: (run) => void this.#later("turn", 0, run),
    };
  }

  get isStalled(): boolean {
    return this.#time.nowMs < this.#stalledUntilMs;
  }

  /** How long this machine has run, without the times in which it did not. */
  get ranMs(): number {
    return this.isStalled ? this.#ranBeforeMs : this.#time.nowMs - this.#stoodStillMs;
  }

  /** True time of a monotonic time of this machine. */
  trueMs(monotonicMs: number): number {
    return monotonicMs + this.#bootedAtMs;
  }

  /** The host's own clock jumps. */
  jump(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Nothing runs here for so long. */
  stall(ms: number): void {
    this.#ranBeforeMs = this.ranMs;
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#time.nowMs + ms);
    this.#time.after(ms, () => this.#resume());
  }

  /** Runs again, whatever was meant. */
  wake(): void {
    if (!this.isStalled) return;
    this.#stalledUntilMs = this.#time.nowMs;
    this.#resume();
  }

  /** Something arrived, or a caller calls. */
  receive(run: () => void): void {
    this.#run("network", run);
  }

  #later(cause: Cause, ms: number, run: () => void): () => void {
    let isCancelled = false;
    const unlessCancelled = () => {
      if (!isCancelled) run();
    };
    this.#time.after(ms, () => {
      if (!isCancelled) this.#run(cause, unlessCancelled);
    });
    return () => {
      isCancelled = true;
    };
  }

  #run(cause: Cause, run: () => void): void {
    if (this.isStalled || this.#waiting.length > 0) this.#waiting.push({ cause, run });
    else run();
  }

  #resume(): void {
    if (this.isStalled) return;
    this.resumedAtMs = this.#time.nowMs;
    this.#stoodStillMs = this.#time.nowMs - this.#ranBeforeMs;
    const first = this.#random.chance(0.5) ? "timer" : "network";
    const waiting = this.#waiting;
    waiting.sort((a, b) => Number(b.cause === first) - Number(a.cause === first));
    waiting.sort((a, b) => Number(a.cause === "turn") - Number(b.cause === "turn"));
    this.#waiting = [];
    for (const { run } of waiting) this.#time.after(0, run);
  }
}
