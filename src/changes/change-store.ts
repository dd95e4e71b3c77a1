import type { CommittedChange } from "./change.ts";

/** Which cluster, and which line of its history (it changes with each failover). Positions compare within one epoch. */
export interface Epoch {
  readonly systemId: string;
  readonly timeline: number;
}

/** What one statement saw of the log of changes. */
export interface Poll {
  readonly epoch: Epoch;
  /** Text of the snapshot that the statement ran in: what the next poll begins from. */
  readonly snapshot: string;
  /** All changes of lower position are visible in the snapshot. */
  readonly xmin: bigint;
  /** No transaction at or above this was visible. */
  readonly xmax: bigint;
  readonly databaseMs: number;
  /** A standby: what it shows may be behind, so that the poll counts as failed. */
  readonly isInRecovery: boolean;
  /** Rows that the snapshot before could not see are gone: whoever began from there has missed changes. */
  readonly hasGap: boolean;
  /** What this snapshot sees and the one before could not, in no particular order. Empty without one before. */
  readonly changes: readonly CommittedChange[];
}

/**
 * The log of changes. A change is written in the transaction that it belongs to.
 *
 * The cursor is a snapshot, not a number: a sequence number is drawn before its transaction commits, so that a reader
 * who goes by numbers loses whatever commits late. Snapshot and rows come from one statement, so that each change is in
 * exactly one poll.
 */
export interface ChangeStore {
  /**
   * Reads to the end of its own snapshot.
   *
   * @param since a snapshot of an earlier poll of the same epoch; undefined reads no changes
   * @throws DATABASE_UNAVAILABLE within 200 ms or so, also when the server is frozen
   */
  poll(since: string | undefined): Promise<Poll>;
  /**
   * Calls `onSignal` soon after each commit that wrote a change, as well as it can: signals may be lost or repeated.
   * @returns ends it
   */
  listen(onSignal: () => void): () => void;
  /** Whether signals arrive at the moment. While they don't, polls come more often. */
  readonly isListening: boolean;
  /** Sessions that ended within the last `withinMs`, as changes. */
  endedSessions(withinMs: number): Promise<readonly CommittedChange[]>;
  /** Deletes changes older than `olderThanMs`, and remembers up to where. */
  prune(olderThanMs: number): Promise<void>;
}
