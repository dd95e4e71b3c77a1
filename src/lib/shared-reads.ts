/** What waits for its turn. */
interface Unsent {
  readonly answer: Promise<unknown>;
  readonly onSend: (() => void)[];
}

/**
 * Reads that many ask for at the same time: few are under way at once, in the order in which they were asked for, and those
 * of the same thing that wait for their turn are one. So each of them is sent after all its callers asked, and sees what was
 * committed before.
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
   * @param what   names what is read: callers who give the same name must want the same
   * @param onSend is called just before it is sent, for each who asked
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
    const { promise: turn, resolve: takeTurn } = Promise.withResolvers<void>();
    this.#waiting.push(takeTurn);
    const calls = [onSend];
    const answer = turn.then(() => {
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
