import type { CommittedChange } from "./change.ts";

/** The history that transaction ids belong to. Snapshots and positions compare within one epoch. */
export interface Epoch {
  readonly systemId: string;
  /** Changes with each failover. */
  readonly timeline: number;
  /**
   * A random id that the database loses wherever transaction ids may be given again: in crash recovery, a promotion, a
   * restore, a copy of the database, and in each other start of the server.
   */
  readonly incarnation: string;
}

export function isSameEpoch(a: Epoch, b: Epoch): boolean {
  return a.systemId === b.systemId && a.timeline === b.timeline && a.incarnation === b.incarnation;
}

/** Where a reader of the log stands: all that the snapshot sees has been read. */
export interface Cursor {
  readonly epoch: Epoch;
  /** Text of the snapshot that the statement ran in: what the next poll begins from. */
  readonly snapshot: string;
}

export function cursorOf({ epoch, snapshot }: Cursor): Cursor {
  return { epoch, snapshot };
}

/** What one statement saw of the log of changes, and where a reader stands then. */
export interface Poll extends Cursor {
  /** All changes of lower position are visible in the snapshot. */
  readonly xmin: bigint;
  /** No transaction at or above this was visible. */
  readonly xmax: bigint;
  readonly databaseMs: number;
  /** A standby: what it shows may be behind, so that the poll counts as failed. */
  readonly isInRecovery: boolean;
  /**
   * What the snapshot before could not see is not all in `changes`, because it was deleted for its age or is more than
   * MAX_CHANGES_PER_POLL: whoever began from there has missed changes.
   */
  readonly hasGap: boolean;
  /** What this snapshot sees and the one before could not, in no particular order. Empty without one before or with a gap. */
  readonly changes: readonly CommittedChange[];
}

/** One who missed more reads everything anew, which is cheaper than to be told. It bounds what one poll costs. */
export const MAX_CHANGES_PER_POLL = 10_000;

/** How long changes are kept. Whoever is away longer drops everything. */
export const CHANGES_KEPT_MS = 86_400_000;

/**
 * The log of changes. A change is written in the transaction that it belongs to.
 *
 * The cursor is a snapshot, not a number: a sequence number is drawn before its transaction commits, so that a reader
 * who goes by numbers loses whatever commits late. Snapshot and rows come from one statement, so that each change is in
 * exactly one poll.
 */
export interface ChangeStore {
  /**
   * Reads to the end of its own snapshot. A database that has lost its incarnation gets another one first.
   *
   * @param since a snapshot of an earlier poll of the same epoch; undefined reads no changes
   * @throws DATABASE_UNAVAILABLE within 500 ms, or 3 s where it has to connect first, also when the server is frozen
   */
  poll(since: string | undefined): Promise<Poll>;
  /**
   * The same for a client, whose snapshot may be old or made up: on another connection than the polls of the feed, so
   * that whatever it takes holds none of them up.
   *
   * @throws DATABASE_UNAVAILABLE
   */
  catchUp(since: string | undefined): Promise<Poll>;
  /**
   * Calls `onSignal` soon after each commit that wrote a change, as well as it can: signals may be lost or repeated.
   * @returns ends it
   */
  listen(onSignal: () => void): () => void;
  /** Whether signals arrive at the moment. While they don't, polls come more often. */
  readonly isListening: boolean;
  /**
   * Sessions that ended within the last `withinMs`, as changes, in the order of their ends: at most `limit` of those
   * behind `after`, or of all.
   */
  endedSessions(
    withinMs: number,
    limit: number,
    after: CommittedChange | undefined,
  ): Promise<readonly CommittedChange[]>;
  /** Deletes some of the changes older than `olderThanMs`, and remembers up to where. @returns whether more are left */
  prune(olderThanMs: number): Promise<boolean>;
}
