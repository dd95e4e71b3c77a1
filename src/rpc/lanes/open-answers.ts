import { type Listed, OldestFirst } from "../../lib/oldest-first.ts";

/** How many answers of this process may be out while their streams are open still. */
const MAX_OPEN = 10_000;
/** With more than that, how long one may be. A client that reads has closed its stream in a turn or two. */
const MAX_OPEN_MS_WHEN_MANY = 250;

/** A stream that has been answered. */
export interface Answered extends Listed {
  /** Its place among all that were answered. */
  turn: number;
  readonly connection: object;
  /** Ends the connection. */
  cutConnection(): void;
}

/**
 * Answers that are out and whose streams the client keeps open: those that wait for room to be sent. Each holds what a
 * stream takes, however short it is, and the call itself has left the room for calls. With too many, connections are cut,
 * those with the most such answers first: a client that does so on purpose holds more than can be cut one by one.
 */
export class OpenAnswers {
  readonly #open = new OldestFirst<Answered>();
  #turn = 0;
  #trimming: NodeJS.Timeout | undefined;

  add(answer: Answered): void {
    answer.turn = ++this.#turn;
    this.#open.add(answer);
    if (this.#open.size > MAX_OPEN && this.#trimming === undefined) this.#trimLater();
  }

  /** Does nothing with one that is not there. */
  delete(answer: Answered): void {
    this.#open.delete(answer);
  }

  #trimLater(): void {
    const lastTurn = this.#turn;
    this.#trimming = setTimeout(() => {
      this.#trimming = undefined;
      for (const answers of this.#byConnection()) {
        if (this.#open.size <= MAX_OPEN) break;
        // A client whose oldest answer is younger may read it yet.
        if (answers[0]!.turn > lastTurn) continue;
        for (const answer of answers) this.#open.delete(answer);
        answers[0]!.cutConnection();
      }
      if (this.#open.size > MAX_OPEN) this.#trimLater();
    }, MAX_OPEN_MS_WHEN_MANY).unref();
  }

  /** The answers of each connection, its oldest first; the connection with the most of them first. */
  #byConnection(): Answered[][] {
    const groups = new Map<object, Answered[]>();
    for (let answer = this.#open.oldest; answer !== undefined; answer = answer.newer as Answered | undefined) {
      const group = groups.get(answer.connection);
      if (group === undefined) groups.set(answer.connection, [answer]);
      else group.push(answer);
    }
    return [...groups.values()].sort((a, b) => b.length - a.length);
  }
}
