/** Most subjects of which something is to be told; beyond it that of the oldest never is. */
const MAX_SUBJECTS = 100_000;

/** What a process has counted by itself and not told the store yet. */
export class UntoldCounts {
  readonly #costs = new Map<string, Map<string, number>>();

  add(subject: string, name: string, cost: number): void {
    let ofSubject = this.#costs.get(subject);
    if (ofSubject === undefined) {
      ofSubject = new Map();
      this.#dropOldest();
      this.#costs.set(subject, ofSubject);
    }
    ofSubject.set(name, (ofSubject.get(name) ?? 0) + cost);
  }

  /** All of a subject, by the names of its limits; none of it is there any more then. */
  take(subject: string): ReadonlyMap<string, number> {
    const ofSubject = this.#costs.get(subject);
    if (ofSubject === undefined) return NOTHING;
    this.#costs.delete(subject);
    return ofSubject;
  }

  #dropOldest(): void {
    if (this.#costs.size < MAX_SUBJECTS) return;
    const [oldest] = this.#costs.keys();
    this.#costs.delete(oldest!);
  }
}

const NOTHING: ReadonlyMap<string, number> = new Map();
