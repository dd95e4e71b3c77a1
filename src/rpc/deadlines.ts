/** What ends at a deadline. */
export interface Expiring {
  expire(): void;
}

/** Deadlines are met up to this late, so that calls share timers. */
const STEP_MS = 16;

/** Deadlines of many calls. Those that fall into the same step share one timer: one for each call would cost more than some calls do. */
export class Deadlines {
  readonly #steps = new Map<number, Step>();

  /**
   * Expires `what` at a time, or up to 16 ms later.
   *
   * @param atMs by the clock of `nowMs`
   * @returns what takes it back
   */
  add(what: Expiring, atMs: number, nowMs: number): Step {
    const index = Math.ceil(atMs / STEP_MS);
    let step = this.#steps.get(index);
    if (step === undefined) {
      step = new Step(index * STEP_MS - nowMs, () => this.#steps.delete(index));
      this.#steps.set(index, step);
    }
    step.add(what);
    return step;
  }
}

/** All that expires together. */
export class Step {
  readonly #expiring = new Set<Expiring>();
  readonly #timer: NodeJS.Timeout;
  readonly #onEnd: () => void;

  constructor(delayMs: number, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#timer = setTimeout(() => {
      onEnd();
      for (const each of this.#expiring) each.expire();
    }, delayMs);
  }

  add(what: Expiring): void {
    this.#expiring.add(what);
  }

  delete(what: Expiring): void {
    this.#expiring.delete(what);
    if (this.#expiring.size > 0) return;
    clearTimeout(this.#timer);
    this.#onEnd();
  }
}
