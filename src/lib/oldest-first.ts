/** An element's place in a list; nobody but the list touches this. An element is in one list at most. */
export interface Listed {
  isListed: boolean;
  older: Listed | undefined;
  newer: Listed | undefined;
}

/**
 * Elements in the order in which they came, the oldest first. Every step takes the same time, however many there are: of a
 * Set the first entry is found only behind the gaps that those before it have left. The links are the elements' own, so
 * that one that comes costs no entry.
 */
export class OldestFirst<E extends Listed> {
  #oldest: E | undefined;
  #newest: E | undefined;
  #size = 0;

  get oldest(): E | undefined {
    return this.#oldest;
  }

  get size(): number {
    return this.#size;
  }

  /** @param element that is in no list */
  add(element: E): void {
    element.isListed = true;
    element.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = element;
    else this.#newest.newer = element;
    this.#newest = element;
    this.#size++;
  }

  /** Has no effect on an element that is not in the list. It lets go of its neighbours, whoever keeps it. */
  delete(element: E): void {
    if (!element.isListed) return;
    const { older, newer } = element as { older: E | undefined; newer: E | undefined };
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    element.isListed = false;
    element.older = undefined;
    element.newer = undefined;
    this.#size--;
  }
}
