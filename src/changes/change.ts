/** The kinds of things that a verdict depends on. */
export type ChangeKind = "KEY" | "OWNER" | "SESSION" | "SERVICE_CREDENTIAL" | "SIGNING_KEY";

/** The news that something changed that a verdict depends on. */
export interface Change {
  readonly kind: ChangeKind;
  readonly subjectId: string;
}

/** A change as the database stores it. */
export interface CommittedChange extends Change {
  /** By the database's clock. */
  readonly changedAtMs: number;
  /** The id of the transaction that made it. Comparable only within one epoch. */
  readonly position: bigint;
}

/** The proof that the feed gives for every copy that it did not drop. */
export interface FeedProof {
  /** The time, by `elapsedMs`, as of which the copy is true. */
  readonly freshAtMs: number;
  /** The copy includes all changes of lower position. */
  readonly position: bigint;
}

/**
 * Tells every copy of each change. This process publishes its own changes after COMMIT, before the caller has its
 * answer. The change feed publishes the changes of all processes.
 */
export class ChangeBus {
  readonly #copies: Copy[] = [];

  add(copy: Copy): void {
    this.#copies.push(copy);
  }

  publish(changes: readonly Change[]): void {
    for (const change of changes) for (const copy of this.#copies) copy.apply(change);
  }

  /** Drops every copy, because everything may have changed. */
  clear(): void {
    for (const copy of this.#copies) copy.clear();
  }
}

/** A copy of data of the database. Its methods must not throw, because every copy must be told of every change. */
export interface Copy {
  /** Forgets what depends on the subject of the change. */
  apply(change: Change): void;
  /** Forgets everything. */
  clear(): void;
}
