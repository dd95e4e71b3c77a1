/** A read that waits until it may be sent. */
interface Unsent {
  readonly answer: Promise<unknown>;
  readonly onSend: (() => void)[];
}

/**
 * Single-flight reads with a concurrency limit: at most `maxUnderWay` are under way, in the order of their requests.
 * Callers that request the same read while it waits share it. So every read is sent after all of its callers asked, and
 * sees everything that was committed before they asked.
 */
export class SharedReads {
  readonly #maxUnderWay: number;
  readonly #unsent = new Map<string, Unsent>();
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  constructor(maxUnderWay: number) {
    this.#maxUnderWay = maxUnderWay;
  }

  /**
   * @param what   names the read: callers that pass the same name must want the same result
   * @param onSend called just before the read is sent, once for each caller
   */
  read<T>(what: string, send: () => Promise<T>, onSend: () => void = () => {}): Promise<T> {
    if (this.#underWay < this.#maxUnderWay) {
      this.#underWay++;
      return this.#send(send, [onSend]);
    }
    const same = this.#unsent.get(what);
    if (same !== undefined) {
      same.onSend.push(onSend);
      return same.answer as Promise<T>;
    }
    const { promise: place, resolve: givePlace } = Promise.withResolvers<void>();
    this.#waiting.push(givePlace);
    const calls = [onSend];
    const answer = place.then(() => {
      this.#unsent.delete(what);
      return this.#send(send, calls);
    });
    this.#unsent.set(what, { answer, onSend: calls });
    return answer;
  }

  async #send<T>(send: () => Promise<T>, onSend: readonly (() => void)[]): Promise<T> {
    for (const call of onSend) call();
    try {
      return await send();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#underWay--;
      else next();
    }
  }
}
