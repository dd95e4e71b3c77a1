/** Half of the 10,000 that are remembered at most. */
const MAX_GENERATION = 5_000;

/**
 * The position at which each key and each owner was last told. An answer of a lower position may lack that change, and
 * is not kept. It has two generations: when the younger one is full, the older one is forgotten as a whole, and
 * `forgottenTo` rises to the highest position in it.
 */
export class ToldChanges {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #youngTo = 0;
  #oldTo = 0;
  #forgottenTo = 0;

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** The highest position of a change that is no longer remembered; 0 for none. */
  get forgottenTo(): number {
    return this.#forgottenTo;
  }

  note(subjectId: string, position: number): void {
    if (position <= this.positionOf(subjectId)) return;
    if (this.#young.size >= MAX_GENERATION && !this.#young.has(subjectId)) {
      this.forgetTo(this.#oldTo);
      [this.#old, this.#oldTo] = [this.#young, this.#youngTo];
      [this.#young, this.#youngTo] = [new Map(), 0];
    }
    this.#young.set(subjectId, position);
    this.#youngTo = Math.max(this.#youngTo, position);
  }

  /** The position at which a subject was last told; 0 if it is not remembered. */
  positionOf(subjectId: string): number {
    return this.#young.get(subjectId) ?? this.#old.get(subjectId) ?? 0;
  }

  /** Counts every change up to a position as forgotten: something that can't be remembered changed there. */
  forgetTo(position: number): void {
    this.#forgottenTo = Math.max(this.#forgottenTo, position);
  }

  /** For another epoch, whose positions do not compare with these. */
  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngTo = 0;
    this.#oldTo = 0;
    this.#forgottenTo = 0;
  }
}
