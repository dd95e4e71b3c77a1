/** The links of an element in a list. Only the list changes them. An element is in at most one list. */
export interface Listed {
  isListed: boolean;
  older: Listed | undefined;
  newer: Listed | undefined;
}

/**
 * An intrusive doubly linked list: elements in the order in which they came, the oldest first. Every step takes
 * constant time; a Set would have to pass the gaps of deleted entries to find its first one. The links are in the
 * elements, so adding one allocates nothing.
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

  /**
   * Removes an element; has no effect if it is not in the list. The element keeps no link to its neighbours, so it
   * keeps none of them alive.
   */
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
