/**
 * Maximum limits with untold counts: as many as `MemoryLimitStore` keeps. Beyond it the oldest subject loses one limit.
 */
const MAX_LIMITS = 100_000;

/** The cost counted in one limit. */
export interface UntoldCount {
  readonly name: string;
  readonly cost: number;
}

/** The counts that this process made alone and has not told the store yet. */
export class UntoldCounts {
  readonly #costs = new Map<string, Map<string, number>>();
  #size = 0;

  add(subject: string, name: string, cost: number): void {
    const ofSubject = this.#costs.get(subject);
    const known = ofSubject?.get(name);
    if (known === undefined) this.#makeRoom();
    const costs = this.#costs.get(subject) ?? new Map<string, number>();
    costs.set(name, (known ?? 0) + cost);
    this.#costs.set(subject, costs);
    if (known === undefined) this.#size++;
  }

  /** Removes and returns the counts of these limits of a subject. */
  take(subject: string, limits: readonly { readonly name: string }[]): readonly UntoldCount[] {
    const costs = this.#costs.get(subject);
    if (costs === undefined) return NOTHING;
    const taken = limits.flatMap(({ name }) => {
      const cost = costs.get(name);
      return cost === undefined ? [] : [{ name, cost }];
    });
    for (const { name } of taken) this.#drop(subject, costs, name);
    return taken;
  }

  #makeRoom(): void {
    if (this.#size < MAX_LIMITS) return;
    const [subject, costs] = this.#costs.entries().next().value!;
    this.#drop(subject, costs, costs.keys().next().value!);
  }

  #drop(subject: string, costs: Map<string, number>, name: string): void {
    costs.delete(name);
    if (costs.size === 0) this.#costs.delete(subject);
    this.#size--;
  }
}

const NOTHING: readonly UntoldCount[] = [];
