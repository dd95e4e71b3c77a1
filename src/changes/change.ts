/**
 * WHAT CHANGED. Keeps every copy of the database's data fresh.
 *
 *   change.ts            what a change is, and the bus that tells the copies
 *   change-feed.ts       polls the log of changes, and proves as of when the copies are true
 *   change-store.ts      the log of changes in the database, as the feed needs it
 *   epoch.ts             the number of a history and of the settings that verdicts rest on
 *   snapshot.ts          snapshots of the database, and their positions
 *   record-cache.ts      copies of records, by the id that callers request
 *   kept-records.ts      the bounded memory of those copies
 *   tags.ts              finds copies by the ids that they depend on
 *   recent-changes.ts    remembers what changed while a record was read
 *   freshness.ts         how old a copy may be, also after this machine was suspended
 *   watch-changes.ts     the same feed for clients that keep verdicts
 *   step-queue.ts        what one of these clients has not been sent yet, and when it is cut off
 *   cursor-text.ts       a client's place in the feed, as text
 *   database-clock.ts    the time by which verdicts are judged
 *   database-breaker.ts  the circuit breaker of the database
 *   stall-watch.ts       notices that this process stood still, so that a timeout is not blamed on the database
 *
 * The room keeps records, never verdicts: state and expiry are judged at each use.
 */

/** The kinds of things that a verdict depends on. */
export type ChangeKind = "KEY" | "OWNER" | "SESSION" | "SERVICE_CREDENTIAL" | "SIGNING_KEY";

/** The news of a change to something that a verdict depends on. */
export interface Change {
  readonly kind: ChangeKind;
  readonly subjectId: string;
}

/** A change as the database stores it. */
export interface CommittedChange extends Change {
  /** By the database's clock. */
  readonly changedAtMs: number;
  /** The position of the poll that found it: a record of at least this position contains the change. */
  readonly position: bigint;
}

/** The proof that the feed gives for every copy that it did not drop. */
export interface FeedProof {
  /** The time, by `elapsedMs`, as of which the copy is true. */
  readonly freshAtMs: number;
  /** The copy contains everything that a snapshot of this position sees. */
  readonly position: bigint;
  /** The epoch in which the position compares, as `epochNumber`; 0 before the first poll. */
  readonly epoch: bigint;
}

/**
 * Tells every copy of each change. This process publishes its own changes after COMMIT, before it answers the caller.
 * The change feed publishes the changes of all processes.
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
