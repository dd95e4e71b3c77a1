import { RememberedNumbers } from "./remembered-numbers.ts";

const MAX_SUBJECTS = 10_000;

/**
 * The position at which each key and each owner was last told. An answer of a lower position may lack that change, and
 * is not kept. `forgottenTo` is the highest position of a change that is no longer remembered.
 */
export class ToldChanges {
  readonly #positions = new RememberedNumbers(MAX_SUBJECTS);

  get size(): number {
    return this.#positions.size;
  }

  /** The highest position of a change that is no longer remembered; 0 for none. */
  get forgottenTo(): number {
    return Math.max(0, this.#positions.forgottenTo);
  }

  note(subjectId: string, position: number): void {
    if (position > this.positionOf(subjectId)) this.#positions.set(subjectId, position);
  }

  /** The position at which a subject was last told; 0 if it is not remembered. */
  positionOf(subjectId: string): number {
    return this.#positions.get(subjectId) ?? 0;
  }

  /** Counts every change up to a position as forgotten: something that can't be remembered changed there. */
  forgetTo(position: number): void {
    this.#positions.forgetTo(position);
  }

  /** For another epoch, whose positions do not compare with these. */
  clear(): void {
    this.#positions.clear();
  }
}
