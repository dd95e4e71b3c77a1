const FAILURES_IN_A_ROW = 3;
const REMEMBERED = 20;
const FAILURES_REMEMBERED = 10;

/** Whether to go on asking something that may be out of reach: opens after 3 failures in a row, or 10 of the last 20. */
export class Breaker {
  #isOpen = false;
  #inARow = 0;
  /** The last outcomes, oldest first; true = failed. */
  #failed: boolean[] = [];

  /** Open = do not ask. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Notes how an attempt ended. True if that opened the breaker; what ends while it is open changes nothing. */
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

  /** Begins anew, with nothing remembered. */
  close(): void {
    this.#isOpen = false;
    this.#inARow = 0;
    this.#failed = [];
  }
}
