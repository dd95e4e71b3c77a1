import type { Timers } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { FeedStep } from "./change-feed.ts";
import { MAX_CHANGES_PER_POLL } from "./change-store.ts";

/**
 * Maximum steps that wait for one watcher. A watcher that is further behind is cut off, so that memory stays bounded.
 * It comes back with its cursor.
 */
const MAX_WAITING_STEPS = 64;
/**
 * Maximum changes that wait for one watcher. It is above the size of one step, so that no watcher that keeps up is cut
 * off.
 */
const MAX_WAITING_CHANGES = 2 * MAX_CHANGES_PER_POLL;
/**
 * Time between two messages to one watcher, because telling 1,000 watchers costs more than a poll. All changes that
 * come meanwhile go in one message.
 */
const REST_MS = 100;

/** The steps that a watcher has not been sent yet. */
export class StepQueue {
  readonly #steps: FeedStep[] = [];
  readonly #timers: Timers;
  readonly #signal: AbortSignal;
  readonly #onCut: () => void;
  #waiting = 0;
  #isCut = false;
  #isResting = false;
  #wake: () => void = () => {};
  #cancelRest: () => void = () => {};

  /** @param onCut called when the watch is cut off because it does not keep up */
  constructor(timers: Timers, signal: AbortSignal, onCut: () => void) {
    this.#timers = timers;
    this.#signal = signal;
    this.#onCut = onCut;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  push(step: FeedStep): void {
    if (this.#isCut) return;
    // A resync replaces everything that waits. Any later step replaces a step without changes.
    if (step.resync) this.clear();
    if (this.#steps.at(-1)?.changes.length === 0 && !this.#steps.at(-1)?.resync) this.#steps.pop();
    this.#steps.push(step);
    this.#waiting += step.changes.length;
    this.#isCut = this.#steps.length > MAX_WAITING_STEPS || this.#waiting > MAX_WAITING_CHANGES;
    if (this.#isCut) {
      this.clear();
      this.#onCut();
    }
    this.#wake();
  }

  clear(): void {
    this.#steps.length = 0;
    this.#waiting = 0;
  }

  /** Holds `take` back for REST_MS. */
  rest(): void {
    this.#isResting = true;
    this.#cancelRest = this.#timers.after(REST_MS, () => {
      this.#isResting = false;
      this.#wake();
    });
  }

  close(): void {
    this.#cancelRest();
  }

  /**
   * All waiting steps as one step; undefined after the client ended the watch. @throws OVERLOADED if the watch was cut
   * off
   */
  async take(): Promise<FeedStep | undefined> {
    while ((this.#steps.length === 0 || this.#isResting) && !this.#isCut && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#isCut) {
      throw new DomainError("OVERLOADED", "the watch does not keep up; resume with the last cursor", {
        retryAfterMs: 0,
      });
    }
    if (this.#signal.aborted) return undefined;
    // A resync goes alone: it is sent with the ended sessions, not with the changes of its step.
    const steps = this.#steps.splice(0, this.#steps[0]!.resync ? 1 : this.#steps.length);
    const changes = steps.length === 1 ? steps[0]!.changes : steps.flatMap((step) => step.changes);
    this.#waiting -= changes.length;
    return { ...steps.at(-1)!, changes };
  }
}
