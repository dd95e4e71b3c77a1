import type { AgeClock, Timers } from "../lib/clock.ts";

const BEAT_MS = 25;
/**
 * An event-loop tick that takes longer than this is a stall. Reads time out after 220 ms. If every tick took less than
 * half of that, the database did not answer in time, even if this process was slow.
 */
const STALL_MS = 100;

/**
 * Detects that this process stood still while it waited for an answer: a timeout may then have fired before the answer
 * was read. It measures how late a timer comes, and runs only during waits. A suspension of the machine counts as a
 * stall too, because connections may be lost.
 */
export class StallWatch {
  readonly #clock: AgeClock;
  readonly #timers: Timers;
  #watched = 0;
  #seenAtMs = 0;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;
  #cancelBeat: () => void = () => {};

  constructor(clock: AgeClock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /** Begins a wait; `end` must follow. @returns `elapsedMs` of now */
  begin(): number {
    if (this.#watched++ === 0) this.#beat();
    else this.#look();
    return this.#seenAtMs;
  }

  end(): void {
    if (--this.#watched === 0) this.#cancelBeat();
  }

  /**
   * Whether a stall ended after a wait began.
   *
   * @param beganAtMs as `begin` returned it
   */
  hasStalledSince(beganAtMs: number): boolean {
    this.#look();
    return this.#stalledUntilMs > beganAtMs;
  }

  #look(): void {
    const nowMs = this.#clock.elapsedMs();
    if (nowMs - this.#seenAtMs > BEAT_MS + STALL_MS) this.#stalledUntilMs = nowMs;
    this.#seenAtMs = nowMs;
  }

  #beat(): void {
    this.#seenAtMs = this.#clock.elapsedMs();
    this.#cancelBeat = this.#timers.after(BEAT_MS, () => {
      this.#look();
      this.#beat();
    });
  }
}
