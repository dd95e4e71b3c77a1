/** Maximum time by which a deadline is late, so that calls share timers. */
const STEP_MS = 16;

/**
 * The deadlines of all calls, by coalesced timers (a timer wheel): deadlines within the same 16 ms share one timer. A
 * timer for each call would be a large part of a short call's cost.
 */
export class Deadlines<T> {
  readonly #steps = new Map<number, Step<T>>();
  /** The newest step is kept even if it is empty, because the next call probably needs it. */
  #last: Step<T> | undefined;
  readonly #expire: (what: T) => void;

  /** @param expire is called for each element whose deadline has come, for all of a step in the same turn */
  constructor(expire: (what: T) => void) {
    this.#expire = expire;
  }

  /**
   * Expires `what` at `atMs`, or up to 16 ms later.
   *
   * @param atMs by the clock of `nowMs`
   * @returns the step that holds it until then
   */
  add(what: T, atMs: number, nowMs: number): Step<T> {
    const index = Math.ceil(atMs / STEP_MS);
    const step = this.#steps.get(index) ?? this.#newStep(index, nowMs);
    step.add(what);
    return step;
  }

  #newStep(index: number, nowMs: number): Step<T> {
    const expireAll = (all: Iterable<T>) => {
      this.#steps.delete(index);
      for (const each of all) this.#expire(each);
    };
    const step = new Step<T>(index * STEP_MS - nowMs, expireAll, () => this.#steps.delete(index));
    this.#steps.set(index, step);
    this.#last?.release();
    this.#last = step;
    return step;
  }
}

/** All elements that expire together. */
export class Step<T> {
  readonly #expiring = new Set<T>();
  readonly #timer: NodeJS.Timeout;
  readonly #forget: () => void;
  #isReleased = false;

  constructor(delayMs: number, expireAll: (all: Iterable<T>) => void, forget: () => void) {
    this.#forget = forget;
    // A call with a deadline has a connection, which keeps the process alive.
    this.#timer = setTimeout(() => expireAll(this.#expiring), delayMs).unref();
  }

  add(what: T): void {
    this.#expiring.add(what);
  }

  delete(what: T): void {
    this.#expiring.delete(what);
    if (this.#isReleased) this.#endIfEmpty();
  }

  /** From now on the step ends as soon as it is empty. */
  release(): void {
    this.#isReleased = true;
    this.#endIfEmpty();
  }

  #endIfEmpty(): void {
    if (this.#expiring.size > 0) return;
    clearTimeout(this.#timer);
    this.#forget();
  }
}
