/** A call as it stands in the queue; nobody but the queue touches this. */
export interface Waiting {
  isWaiting: boolean;
  older: Waiting | undefined;
  newer: Waiting | undefined;
}

/**
 * Calls whose message has not come, the oldest first. Every step takes the same time, however many wait: of a Set the
 * first entry is found only behind the gaps that those before it have left.
 */
export class WaitingCalls<C extends Waiting> {
  #oldest: C | undefined;
  #newest: C | undefined;

  get oldest(): C | undefined {
    return this.#oldest;
  }

  /** @param call that does not wait yet */
  add(call: C): void {
    call.isWaiting = true;
    call.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = call;
    else this.#newest.newer = call;
    this.#newest = call;
  }

  /** Has no effect on a call that does not wait. */
  delete(call: C): void {
    if (!call.isWaiting) return;
    const { older, newer } = call as { older: C | undefined; newer: C | undefined };
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    call.isWaiting = false;
    call.older = undefined;
    call.newer = undefined;
  }
}
