import { DAY_MS } from "../lib/clock.ts";
import type { CommittedChange } from "./change.ts";

/** The history that transaction ids belong to. Snapshots and positions are comparable only within one epoch. */
export interface Epoch {
  readonly systemId: string;
  /** Each failover gives it another number. */
  readonly timeline: number;
  /**
   * A random id. The database loses it whenever transaction ids may be used again. This happens in crash recovery, a
   * promotion, a restore, a copy of the database, and any other start of the server.
   */
  readonly incarnation: string;
}

export function isSameEpoch(a: Epoch, b: Epoch): boolean {
  return a.systemId === b.systemId && a.timeline === b.timeline && a.incarnation === b.incarnation;
}

/** The place of a reader in the log: it has read all changes that the snapshot sees. */
export interface Cursor {
  readonly epoch: Epoch;
  /** The snapshot of the statement, as text; the next poll begins from it. */
  readonly snapshot: string;
}

export function cursorOf({ epoch, snapshot }: Cursor): Cursor {
  return { epoch, snapshot };
}

/** The result of one statement on the log of changes, with the reader's new cursor. */
export interface Poll extends Cursor {
  /** The oldest transaction that was under way; xmax if there was none. */
  readonly xmin: bigint;
  /** No transaction at or above this is visible in the snapshot. */
  readonly xmax: bigint;
  readonly databaseMs: number;
  /** True for a standby. Its data may be behind, so the poll counts as failed. */
  readonly isInRecovery: boolean;
  /**
   * True if `changes` is not complete: some were deleted because of their age, or there were more than
   * MAX_CHANGES_PER_POLL. A reader that began from that snapshot has missed changes.
   */
  readonly hasGap: boolean;
  /**
   * The changes that this snapshot sees and the earlier one does not, in no particular order. Empty without an earlier
   * snapshot, or with a gap.
   */
  readonly changes: readonly CommittedChange[];
}

/**
 * Maximum changes of one poll; it bounds the cost of a poll. A reader that missed more reads everything again, which is
 * cheaper than to be told of each change.
 */
export const MAX_CHANGES_PER_POLL = 10_000;

/** How long changes are kept. A reader that was disconnected for longer must drop everything. */
export const CHANGES_KEPT_MS = DAY_MS;

/**
 * The log of changes. A change is written in the transaction that it belongs to.
 *
 * The cursor is a snapshot, not a number. A sequence number is drawn before its transaction commits, so a reader that
 * follows numbers would miss transactions that commit late. Snapshot and rows come from one statement, so each change
 * is in exactly one poll.
 */
export interface ChangeStore {
  /**
   * Reads to the end of its own snapshot. If the database has lost its incarnation, `poll` first gives it a new one.
   *
   * @param since a snapshot of an earlier poll of the same epoch; undefined reads no changes
   * @throws DATABASE_UNAVAILABLE within 2 s, or within 11 s if it has to connect first, also if the server is frozen
   */
  poll(since: string | undefined): Promise<Poll>;
  /**
   * As `poll`, for a client, whose snapshot may be old or made up. It uses another connection than `poll`, so that it
   * never delays the feed.
   *
   * @throws DATABASE_UNAVAILABLE
   */
  catchUp(since: string | undefined): Promise<Poll>;
  /**
   * Calls `onSignal` soon after each commit that wrote a change. Signals are best effort: they may be lost or repeated.
   *
   * @returns a function that ends this
   */
  listen(onSignal: () => void): () => void;
  /** Whether signals arrive now. While they don't, the feed polls more often. */
  readonly isListening: boolean;
  /**
   * Sessions that ended within the last `withinMs`, as changes, in the order of their ends: at most `limit`, beginning
   * after `after` or with the first.
   */
  endedSessions(
    withinMs: number,
    limit: number,
    after: CommittedChange | undefined,
  ): Promise<readonly CommittedChange[]>;
  /**
   * Deletes some of the changes whose age is above `olderThanMs`, and records the highest transaction id among them.
   *
   * @returns whether more are left
   */
  prune(olderThanMs: number): Promise<boolean>;
}
