import type { AgeClock, Timers } from "../lib/clock.ts";

const BEAT_MS = 25;
/**
 * A turn of the event loop that takes so long is a stall. Reads have 220 ms: one that failed although no turn took half
 * of that was not answered in time, however slow this process was besides.
 */
const STALL_MS = 100;

/**
 * Whether this process stood still while something was waited for: then a timeout may have run out before an answer
 * could be read. Measured by a timer that comes late, and runs only while there is something to watch. A suspension of
 * the machine is a stall too: connections may be gone.
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

  /** Something is waited for from now on; `end` must follow. @returns `elapsedMs` of now */
  begin(): number {
    if (this.#watched++ === 0) this.#beat();
    else this.#look();
    return this.#seenAtMs;
  }

  end(): void {
    if (--this.#watched === 0) this.#cancelBeat();
  }

  /** Whether a stall ended after the time at which what is being waited for began. */
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
