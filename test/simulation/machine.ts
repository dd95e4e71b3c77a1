import { type Clock, SkippingClock, type Timers } from "../../src/lib/clock.ts";
import type { SeededRandom } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

type Cause = "timer" | "network" | "turn";

/** One tick of the monotonic clock. */
const TICK_MS = 0.001;

/**
 * The machine of one process of the service: its clocks, which agree with no other clock, its timers, and the times in
 * which it does not run. What comes in such a time waits until it runs again. Due timers and arrived answers are then
 * handled in either order, because the event loop may stand at either.
 */
export class Machine {
  readonly clock: NotedClock;
  readonly timers: Timers;
  /** True time at which it last resumed. */
  resumedAtMs = Number.NEGATIVE_INFINITY;
  /** True time at which its clock last noticed a suspension, or took a jump as one. */
  noticedAtMs = Number.NEGATIVE_INFINITY;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #pace: number;
  readonly #bootedAtMs: number;
  #wallOffsetMs: number;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;
  #stoodStillMs = 0;
  #ranBeforeMs = 0;
  #suspendedSinceMs: number | undefined;
  /** By the monotonic clock. */
  #lastSuspendedAtMs = Number.NEGATIVE_INFINITY;
  readonly #suspensions: { readonly atMonotonicMs: number; readonly ms: number }[] = [];
  /** The skips of the clock's `elapsedMs`, with their time and the total of all skips so far. */
  readonly #skips: { readonly atMs: number; readonly totalMs: number }[] = [];
  #waiting: { readonly cause: Cause; readonly run: () => void }[] = [];

  /** @param pace of the monotonic clock: 1.0001 is 100 ppm fast */
  constructor(time: VirtualTime, random: SeededRandom, pace = 1) {
    this.#time = time;
    this.#random = random;
    this.#pace = pace;
    this.#bootedAtMs = random.between(-1e6, -1e3);
    this.#wallOffsetMs = random.between(-7.2e6, 7.2e6);
    const host = { nowMs: () => time.nowMs + this.#wallOffsetMs, monotonicMs: () => this.#monotonicMs() };
    this.clock = new NotedClock(host, (atMs, totalMs) => {
      this.#skips.push({ atMs, totalMs });
      this.noticedAtMs = time.nowMs;
    });
    this.timers = {
      after: (ms, run) => this.#later("timer", ms + random.next(), run),
      nextTurn: (run) => void this.#later("turn", 0, run),
    };
  }

  get isStalled(): boolean {
    return this.#time.nowMs < this.#stalledUntilMs;
  }

  /** How long this machine has run, without the times in which it stood still. */
  get ranMs(): number {
    return this.isStalled ? this.#ranBeforeMs : this.#time.nowMs - this.#stoodStillMs;
  }

  get wasSuspended(): boolean {
    return this.#suspensions.length > 0;
  }

  /** True time of an `elapsedMs` of this machine's clock. */
  trueMs(elapsedMs: number): number {
    const skippedMs = this.#skips.findLast(({ atMs }) => atMs <= elapsedMs)?.totalMs ?? 0;
    const monotonicMs = elapsedMs - skippedMs;
    const before = this.#suspensions.filter(({ atMonotonicMs }) => atMonotonicMs < monotonicMs);
    return monotonicMs / this.#pace + this.#bootedAtMs + before.reduce((sum, { ms }) => sum + ms, 0);
  }

  /**
   * The host's clock jumps. A jump back during a suspension would hide it; this is a known limit, so it is left out.
   */
  jump(ms: number): void {
    if (ms < 0 && (this.#suspendedSinceMs !== undefined || this.clock.readAtMs < this.#lastSuspendedAtMs)) return;
    this.#wallOffsetMs += ms;
  }

  /** Nothing runs here for `ms`, and the monotonic clock and all timers stand still. */
  suspend(ms: number): void {
    if (this.isStalled) return;
    this.stall(ms);
    this.#suspendedSinceMs = this.#time.nowMs;
  }

  /** Nothing runs here for `ms`. */
  stall(ms: number): void {
    if (this.#suspendedSinceMs !== undefined) return;
    this.#ranBeforeMs = this.ranMs;
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#time.nowMs + ms);
    this.#time.after(ms, () => this.#resume());
  }

  /** Ends a stall or a suspension early. */
  wake(): void {
    if (!this.isStalled) return;
    this.#stalledUntilMs = this.#time.nowMs;
    this.#resume();
  }

  /** Runs work that arrives from the network or from a caller. */
  receive(run: () => void): void {
    this.#run("network", run);
  }

  #later(cause: Cause, ms: number, run: () => void): () => void {
    let isCancelled = false;
    const unlessCancelled = () => {
      if (!isCancelled) run();
    };
    const dueMs = this.#monotonicMs() + ms;
    const runWhenDue = () => {
      if (isCancelled) return;
      const leftMs = dueMs - this.#monotonicMs();
      // The machine was suspended meanwhile, or is now.
      if (cause === "timer" && leftMs > TICK_MS) {
        if (this.#suspendedSinceMs === undefined) this.#time.after(leftMs, runWhenDue);
        else this.#waiting.push({ cause, run: runWhenDue });
      } else {
        this.#run(cause, unlessCancelled);
      }
    };
    this.#time.after(ms, runWhenDue);
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
    this.#endSuspension();
    this.resumedAtMs = this.#time.nowMs;
    this.#stoodStillMs = this.#time.nowMs - this.#ranBeforeMs;
    const first = this.#random.chance(0.5) ? "timer" : "network";
    const waiting = this.#waiting;
    waiting.sort((a, b) => Number(b.cause === first) - Number(a.cause === first));
    waiting.sort((a, b) => Number(a.cause === "turn") - Number(b.cause === "turn"));
    this.#waiting = [];
    for (const { run } of waiting) this.#time.after(0, run);
  }

  #monotonicMs(): number {
    const sinceMs = this.#suspendedSinceMs;
    const stoodStillMs = this.#suspensions.reduce((sum, { ms }) => sum + ms, 0);
    return ((sinceMs ?? this.#time.nowMs) - this.#bootedAtMs - stoodStillMs) * this.#pace;
  }

  #endSuspension(): void {
    const sinceMs = this.#suspendedSinceMs;
    if (sinceMs === undefined) return;
    const atMonotonicMs = this.#monotonicMs();
    this.#suspendedSinceMs = undefined;
    // The clock shows one tick between its values before and after.
    this.#suspensions.push({ atMonotonicMs, ms: this.#time.nowMs - sinceMs - TICK_MS });
    this.#lastSuspendedAtMs = this.#monotonicMs();
  }
}

/** A clock that reports its skips. */
class NotedClock extends SkippingClock {
  /** When its `elapsedMs` was last read, by the monotonic clock. */
  readAtMs = Number.NEGATIVE_INFINITY;
  readonly #onSkip: (atMs: number, totalMs: number) => void;

  constructor(host: Clock, onSkip: (atMs: number, totalMs: number) => void) {
    super(host);
    this.#onSkip = onSkip;
  }

  override elapsedMs(): number {
    const before = this.skippedAtMs;
    const elapsedMs = super.elapsedMs();
    this.readAtMs = this.monotonicMs();
    if (this.skippedAtMs !== before) this.#onSkip(this.skippedAtMs, this.skippedMs);
    return elapsedMs;
  }
}
