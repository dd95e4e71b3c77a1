const FAILURES_IN_A_ROW = 3;
const REMEMBERED = 20;
const FAILURES_REMEMBERED = 10;

/**
 * A circuit breaker: it says whether to ask a service that may be unreachable. It opens after 3 failures in a row, or
 * after 10 failures among the last 20 attempts. Its user probes in the background and calls `close` when a probe
 * succeeds. `DatabaseBreaker` differs: one failed read opens it, any answer closes it, and it probes by itself.
 */
export class Breaker {
  #isOpen = false;
  #inARow = 0;
  /** The last outcomes, oldest first; true = failed. */
  #failed: boolean[] = [];

  /** Open means: do not ask. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Records how an attempt ended. Attempts that end while the breaker is open change nothing.
   *
   * @returns whether this attempt opened the breaker
   */
  record(failed: boolean): boolean {
    if (this.#isOpen) return false;
    this.#inARow = failed ? this.#inARow + 1 : 0;
    this.#failed.push(failed);
    if (this.#failed.length > REMEMBERED) this.#failed.shift();
    const isFull = this.#failed.length === REMEMBERED;
    const isHalf = failed && isFull && this.#failed.filter(Boolean).length >= FAILURES_REMEMBERED;
    this.#isOpen = this.#inARow >= FAILURES_IN_A_ROW || isHalf;
    return this.#isOpen;
  }

  /** Closes the breaker and forgets all outcomes. */
  close(): void {
    this.#isOpen = false;
    this.#inARow = 0;
    this.#failed = [];
  }
}
