import { type Clock, SkippingClock, type Timers } from "../../src/lib/clock.ts";
import type { SeededRandom } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

type Cause = "timer" | "network" | "turn";

/** Of the monotonic clock. */
const TICK_MS = 0.001;

/**
 * What one process of the service runs on: its clocks, which agree with nobody's, its timers, and the moments at which
 * it does not run at all. What comes meanwhile waits, and is handled when it runs again: due timers and arrived answers
 * in either order, as the event loop happened to stand.
 */
export class Machine {
  readonly clock: NotedClock;
  readonly timers: Timers;
  /** When it last ran again after it had not; true time. */
  resumedAtMs = Number.NEGATIVE_INFINITY;
  /** When its clock last noticed a suspension, or took a jump for one; true time. */
  noticedAtMs = Number.NEGATIVE_INFINITY;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #bootedAtMs: number;
  #wallOffsetMs: number;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;
  #stoodStillMs = 0;
  #ranBeforeMs = 0;
  #suspendedSinceMs: number | undefined;
  /** By the monotonic clock. */
  #lastSuspendedAtMs = Number.NEGATIVE_INFINITY;
  readonly #suspensions: { readonly atMonotonicMs: number; readonly ms: number }[] = [];
  /** Of the clock's `elapsedMs`. */
  readonly #skips: { readonly atMs: number; readonly totalMs: number }[] = [];
  #waiting: { readonly cause: Cause; readonly run: () => void }[] = [];

  constructor(time: VirtualTime, random: SeededRandom) {
    this.#time = time;
    this.#random = random;
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

  /** How long this machine has run, without the times in which it did not. */
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
    return monotonicMs + this.#bootedAtMs + before.reduce((sum, { ms }) => sum + ms, 0);
  }

  /** The host's own clock jumps. Set back just then, it would hide a suspension: that is known not to be noticed. */
  jump(ms: number): void {
    if (ms < 0 && (this.#suspendedSinceMs !== undefined || this.clock.readAtMs < this.#lastSuspendedAtMs)) return;
    this.#wallOffsetMs += ms;
  }

  /** Nothing runs here for so long, and the monotonic clock and with it all timers stand still. */
  suspend(ms: number): void {
    if (this.isStalled) return;
    this.stall(ms);
    this.#suspendedSinceMs = this.#time.nowMs;
  }

  /** Nothing runs here for so long. */
  stall(ms: number): void {
    if (this.#suspendedSinceMs !== undefined) return;
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
    const dueMs = this.#monotonicMs() + ms;
    const runWhenDue = () => {
      if (isCancelled) return;
      const leftMs = dueMs - this.#monotonicMs();
      // It was suspended meanwhile, or is so now.
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
    return (sinceMs ?? this.#time.nowMs) - this.#bootedAtMs - stoodStillMs;
  }

  #endSuspension(): void {
    const sinceMs = this.#suspendedSinceMs;
    if (sinceMs === undefined) return;
    const atMonotonicMs = this.#monotonicMs();
    this.#suspendedSinceMs = undefined;
    // A tick of the clock lies between what was read of it before and after.
    this.#suspensions.push({ atMonotonicMs, ms: this.#time.nowMs - sinceMs - TICK_MS });
    this.#lastSuspendedAtMs = this.#monotonicMs();
  }
}

/** Tells of what it skips. */
class NotedClock extends SkippingClock {
  /** By the monotonic clock: when its `elapsedMs` was asked for last. */
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
