/** Kinds of things that a verdict depends on. */
export type ChangeKind = "KEY" | "OWNER" | "SESSION" | "SERVICE_CREDENTIAL" | "SIGNING_KEY";

/** Something that a verdict depends on changed. */
export interface Change {
  readonly kind: ChangeKind;
  readonly subjectId: string;
}

/** A change as the database keeps it. */
export interface CommittedChange extends Change {
  /** By the database's clock. */
  readonly changedAtMs: number;
  /** Id of the transaction that made it. Comparable within one epoch. */
  readonly position: bigint;
}

/** What the feed proves of every copy that it did not drop. */
export interface FeedProof {
  /** `elapsedMs` of the clock as of which it is true. */
  readonly freshAtMs: number;
  /** All changes of lower position are in it. */
  readonly position: bigint;
}

/**
 * Where copies of the truth learn of changes: of those that this process made after their COMMIT and before the caller
 * has an answer, of everyone's by the change feed.
 */
export class ChangeBus {
  readonly #copies: Copy[] = [];

  add(copy: Copy): void {
    this.#copies.push(copy);
  }

  publish(changes: readonly Change[]): void {
    for (const change of changes) for (const copy of this.#copies) copy.apply(change);
  }

  /** Everything may have changed. */
  clear(): void {
    for (const copy of this.#copies) copy.clear();
  }
}

/** A copy of something of the truth. Its methods must not throw: each copy is told of each change. */
export interface Copy {
  /** Forgets what depends on this. */
  apply(change: Change): void;
  /** Forgets everything. */
  clear(): void;
}
