import { type Listed, OldestFirst } from "../lib/oldest-first.ts";

/** An element whose size changes by one at a time. */
export interface Sized extends Listed {
  size: number;
}

/**
 * Elements sorted by size, so that the largest is found in constant time: one list for each size, like the frequency
 * lists of an O(1) LFU cache. Every step takes constant time. If several elements are the largest, `largest` is the one
 * that reached its size first.
 */
export class BySize<E extends Sized> {
  /** Index = size; index 0 holds the empty elements. */
  readonly #lists: OldestFirst<E>[] = [new OldestFirst()];
  #most = 0;

  /** undefined if all are empty. */
  get largest(): E | undefined {
    return this.#most === 0 ? undefined : this.#lists[this.#most]!.oldest;
  }

  /** Number of empty elements. */
  get emptyCount(): number {
    return this.#lists[0]!.size;
  }

  /** Sets the size of an element, new or known. */
  resize(element: E, size: number): void {
    this.#lists[element.size]!.delete(element);
    element.size = size;
    for (let at = this.#lists.length; at <= size; at++) this.#lists.push(new OldestFirst());
    this.#lists[size]!.add(element);
    if (size > this.#most) this.#most = size;
    while (this.#most > 0 && this.#lists[this.#most]!.size === 0) this.#most--;
  }

  /** Removes and returns the element that has been empty for longest. */
  takeEmpty(): E | undefined {
    const empty = this.#lists[0]!;
    const { oldest } = empty;
    if (oldest !== undefined) empty.delete(oldest);
    return oldest;
  }
}
