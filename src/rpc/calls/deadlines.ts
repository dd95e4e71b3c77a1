/** What ends at a deadline. */
export interface Expiring {
  expire(): void;
}

/** Deadlines are met up to this late, so that calls share timers. */
const STEP_MS = 16;

/**
 * Deadlines of many calls. Those that fall into the same step share one timer: one for each call would be a good part of
 * what a short call costs.
 */
export class Deadlines {
  readonly #steps = new Map<number, Step>();
  /** The step that was made last is kept though it is empty: the next call will most likely want it. */
  #last: Step | undefined;

  /**
   * Expires `what` at a time, or up to 16 ms later.
   *
   * @param atMs by the clock of `nowMs`
   * @returns what takes it back
   */
  add(what: Expiring, atMs: number, nowMs: number): Step {
    const index = Math.ceil(atMs / STEP_MS);
    const step = this.#steps.get(index) ?? this.#newStep(index, nowMs);
    step.add(what);
    return step;
  }

  #newStep(index: number, nowMs: number): Step {
    const step = new Step(index * STEP_MS - nowMs, () => this.#steps.delete(index));
    this.#steps.set(index, step);
    this.#last?.release();
    this.#last = step;
    return step;
  }
}

/** All that expires together. */
export class Step {
  readonly #expiring = new Set<Expiring>();
  readonly #timer: NodeJS.Timeout;
  readonly #forget: () => void;
  #isReleased = false;

  constructor(delayMs: number, forget: () => void) {
    this.#forget = forget;
    // Whoever waits for a deadline has a connection, which keeps the process alive.
    this.#timer = setTimeout(() => this.#expireAll(), delayMs).unref();
  }

  add(what: Expiring): void {
    this.#expiring.add(what);
  }

  delete(what: Expiring): void {
    this.#expiring.delete(what);
    if (this.#isReleased) this.#endIfEmpty();
  }

  /** From now on it ends when it is empty. */
  release(): void {
    this.#isReleased = true;
    this.#endIfEmpty();
  }

  #endIfEmpty(): void {
    if (this.#expiring.size > 0) return;
    clearTimeout(this.#timer);
    this.#forget();
  }

  #expireAll(): void {
    this.#forget();
    for (const each of this.#expiring) each.expire();
  }
}
