/** How many answers of this process may be out while their streams are open still. */
const MAX_OPEN = 10_000;
/** With more than that, how long one may be. A client that reads has closed its stream in a turn or two. */
const MAX_OPEN_MS_WHEN_MANY = 250;

/** A stream that has been answered. Its links are its own, since a call is to cost no entry in a list. */
export interface Answered {
  older: Answered | undefined;
  newer: Answered | undefined;
  /** Its place among all that were answered; 0 while it is none of the open ones. */
  turn: number;
  /** Ends the connection. */
  cutConnection(): void;
}

/**
 * Answers that are out and whose streams the client keeps open: those that wait for room to be sent. Each holds what a
 * stream takes, however short it is, and the call itself has left the room for calls. With too many the connections of the
 * oldest are cut: a client that does so on purpose holds more of them than can be cut one by one.
 */
export class OpenAnswers {
  #oldest: Answered | undefined;
  #newest: Answered | undefined;
  #count = 0;
  #turn = 0;
  #trimming: NodeJS.Timeout | undefined;

  add(answer: Answered): void {
    answer.turn = ++this.#turn;
    answer.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = answer;
    else this.#newest.newer = answer;
    this.#newest = answer;
    if (++this.#count > MAX_OPEN && this.#trimming === undefined) this.#trimLater();
  }

  /** Does nothing with one that is not there. */
  delete(answer: Answered): void {
    if (answer.turn === 0) return;
    const { older, newer } = answer;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    // Node keeps a stream for a while: it must not keep its neighbours.
    answer.older = undefined;
    answer.newer = undefined;
    answer.turn = 0;
    this.#count--;
  }

  #trimLater(): void {
    const lastTurn = this.#turn;
    this.#trimming = setTimeout(() => {
      this.#trimming = undefined;
      while (this.#count > MAX_OPEN && this.#oldest !== undefined && this.#oldest.turn <= lastTurn) {
        const answer = this.#oldest;
        this.delete(answer);
        answer.cutConnection();
      }
      if (this.#count > MAX_OPEN) this.#trimLater();
    }, MAX_OPEN_MS_WHEN_MANY).unref();
  }
}
