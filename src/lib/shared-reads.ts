/**
 * Reads that many ask for at the same time: few are under way at once, in the order in which they were asked for, and those
 * of the same thing that were not sent yet are one. So each of them is sent after all its callers asked, and sees what was
 * committed before.
 */
export class SharedReads {
  readonly #maxUnderWay: number;
  readonly #unsent = new Map<string, Promise<unknown>>();
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  constructor(maxUnderWay: number) {
    this.#maxUnderWay = maxUnderWay;
  }

  /** @param what names what is read: callers who give the same name must want the same */
  read<T>(what: string, send: () => Promise<T>): Promise<T> {
    const same = this.#unsent.get(what) as Promise<T> | undefined;
    if (same !== undefined) return same;
    const read = this.#send(what, send);
    this.#unsent.set(what, read);
    return read;
  }

  async #send<T>(what: string, send: () => Promise<T>): Promise<T> {
    await this.#turn();
    this.#unsent.delete(what);
    try {
      return await send();
    } finally {
      this.#end();
    }
  }

  async #turn(): Promise<void> {
    if (this.#underWay < this.#maxUnderWay) this.#underWay++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #end(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#underWay--;
    else next();
  }
}
