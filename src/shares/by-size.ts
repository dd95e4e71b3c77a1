import { type Listed, OldestFirst } from "../lib/oldest-first.ts";

/** What has a size that changes by one at a time. */
export interface Sized extends Listed {
  size: number;
}

/**
 * Elements by their size, so that a largest one is found at once: a list for each size (as the frequency lists of an O(1)
 * LFU cache). Every step takes constant time. Of equally large ones the one that has had its size for longest is first.
 */
export class BySize<E extends Sized> {
  /** By size; at 0 those that are empty. */
  readonly #lists: OldestFirst<E>[] = [new OldestFirst()];
  #most = 0;

  /** undefined where all are empty. */
  get largest(): E | undefined {
    return this.#most === 0 ? undefined : this.#lists[this.#most]!.oldest;
  }

  /** How many are empty. */
  get emptyCount(): number {
    return this.#lists[0]!.size;
  }

  /** Gives an element, new or known, its size. */
  resize(element: E, size: number): void {
    this.#lists[element.size]!.delete(element);
    element.size = size;
    for (let at = this.#lists.length; at <= size; at++) this.#lists.push(new OldestFirst());
    this.#lists[size]!.add(element);
    if (size > this.#most) this.#most = size;
    while (this.#most > 0 && this.#lists[this.#most]!.size === 0) this.#most--;
  }

  /** Takes out the one that has been empty for longest. */
  takeEmpty(): E | undefined {
    const empty = this.#lists[0]!;
    const { oldest } = empty;
    if (oldest !== undefined) empty.delete(oldest);
    return oldest;
  }
}
