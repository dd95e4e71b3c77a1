/**
 * A bounded map from ids to numbers that knows what it forgot. It has two generations: when the younger one is full,
 * the older one is forgotten as a whole, and `forgottenTo` rises to its highest number. So nothing is ever searched for
 * the oldest, and between half of the bound and all of it is remembered.
 */
export class RememberedNumbers {
  readonly #mostOfGeneration: number;
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #youngTo = Number.NEGATIVE_INFINITY;
  #oldTo = Number.NEGATIVE_INFINITY;
  #forgottenTo = Number.NEGATIVE_INFINITY;

  /** @param most the bound of ids: an even number */
  constructor(most: number) {
    this.#mostOfGeneration = most / 2;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The highest number that is no longer remembered; `-Infinity` for none. */
  get forgottenTo(): number {
    return this.#forgottenTo;
  }

  get(id: string): number | undefined {
    return this.#young.get(id) ?? this.#old.get(id);
  }

  set(id: string, number: number): void {
    if (this.#young.size >= this.#mostOfGeneration && !this.#young.has(id)) {
      this.forgetTo(this.#oldTo);
      [this.#old, this.#oldTo] = [this.#young, this.#youngTo];
      [this.#young, this.#youngTo] = [new Map(), Number.NEGATIVE_INFINITY];
    }
    this.#young.set(id, number);
    this.#youngTo = Math.max(this.#youngTo, number);
  }

  /** Counts every number up to this one as forgotten. */
  forgetTo(number: number): void {
    this.#forgottenTo = Math.max(this.#forgottenTo, number);
  }

  /** Forgets everything, and that something was forgotten. */
  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngTo = Number.NEGATIVE_INFINITY;
    this.#oldTo = Number.NEGATIVE_INFINITY;
    this.#forgottenTo = Number.NEGATIVE_INFINITY;
  }
}
