import assert from "node:assert/strict";

/**
 * The part of PostgreSQL that the change feed depends on:
 *
 * - Transaction ids, which are given at the first write and commit in another order.
 * - Snapshots, each of which sees one version of a row.
 * - Sequence numbers, which are drawn before the transaction has its id.
 * - A failover, which cuts the history short, and a crash, after which ids are assigned again.
 *
 * A value is a whole row; undefined is a row that does not exist.
 */

/** A snapshot, as pg_current_snapshot() returns it. */
export interface Snapshot {
  readonly xmin: number;
  readonly xmax: number;
  /** The transactions under way between the two, in ascending order. */
  readonly underWay: readonly number[];
  /** The row of the unlogged table, as the snapshot sees it. */
  readonly incarnation: number | undefined;
}

/** The kinds of changes that simulations write. */
export type SimulatedKind = "KEY" | "OWNER" | "SESSION";

export interface ChangeRow {
  readonly sequence: number;
  readonly xactId: number;
  readonly kind: SimulatedKind;
  readonly subjectId: string;
  readonly changedAtMs: number;
}

interface RowVersion<V> {
  readonly xactId: number;
  readonly value: V | undefined;
}

/** A checkpoint: all data that were durable at a moment, such as the data of a standby that is behind. */
export interface Checkpoint<V> {
  readonly nextXact: number;
  readonly committed: ReadonlySet<number>;
  readonly rows: ReadonlyMap<string, readonly RowVersion<V>[]>;
  readonly changes: readonly ChangeRow[];
  readonly prunedXact: number;
  readonly incarnation: number | undefined;
}

/** The result of the statement of a poll, without the epoch and the clock. */
export interface PollRows {
  readonly snapshot: string;
  /** undefined if this history has no row yet. */
  readonly incarnation: number | undefined;
  readonly xmin: number;
  readonly xmax: number;
  readonly hasGap: boolean;
  readonly changes: readonly ChangeRow[];
}

export class PostgresModel<V> {
  timeline = 1;
  /** Number of the server's life; the end of each life ends all connections. */
  lives = 0;
  #incarnation: number | undefined;
  #nextIncarnation = 1;
  /** The first id that a crash assigns again, because no id from here on is on disk. */
  #durableXact = 700;
  #nextXact = 700;
  #nextSequence = 1;
  readonly #underWay = new Set<number>();
  #committed = new Set<number>();
  #rows = new Map<string, RowVersion<V>[]>();
  #changes: ChangeRow[] = [];
  #prunedXact = 0;

  /** Draws a sequence number (nextval), before the transaction has its id. */
  drawSequence(): number {
    return this.#nextSequence++;
  }

  /** Gives a transaction its id, at its first write. */
  beginXact(): number {
    this.#underWay.add(this.#nextXact);
    return this.#nextXact++;
  }

  /** Uses ids, as other transactions in the cluster do. */
  burnXacts(count: number): void {
    this.#nextXact += count;
  }

  /** Writes a row and its change, in one transaction that is still under way. */
  write(value: V | undefined, change: ChangeRow): void {
    const versions = this.#rows.get(change.subjectId) ?? [];
    this.#rows.set(change.subjectId, [...versions, { xactId: change.xactId, value }]);
    this.#changes.push(change);
  }

  commit(xactId: number): void {
    assert(this.#underWay.delete(xactId), "only a transaction that is under way commits");
    this.#committed.add(xactId);
    this.#durableXact = Math.max(this.#durableXact, xactId + 1);
  }

  rollBack(xactId: number): void {
    this.#underWay.delete(xactId);
  }

  takeSnapshot(): Snapshot {
    const underWay = [...this.#underWay].sort((a, b) => a - b);
    return { xmin: underWay[0] ?? this.#nextXact, xmax: this.#nextXact, underWay, incarnation: this.#incarnation };
  }

  /** The version of a row that a snapshot sees. */
  read(snapshot: Snapshot, subjectId: string): V | undefined {
    const versions = this.#rows.get(subjectId) ?? [];
    return versions.findLast(({ xactId }) => this.#isVisible(snapshot, xactId))?.value;
  }

  /** Runs the statement of a poll in its one snapshot. */
  poll(snapshot: Snapshot, since: string | undefined): PollRows {
    const before = since === undefined ? undefined : parseSnapshot(since);
    const rows = this.#changes.filter(({ xactId }) => this.#isVisible(snapshot, xactId));
    return {
      snapshot: snapshotText(snapshot),
      incarnation: snapshot.incarnation,
      xmin: snapshot.xmin,
      xmax: snapshot.xmax,
      hasGap: before !== undefined && this.#mayHavePruned(before),
      changes: before === undefined ? [] : rows.filter((row) => !sees(before, row.xactId)),
    };
  }

  /** Writes the row of the unlogged table, if there is none. */
  beginIncarnation(): void {
    this.#incarnation ??= this.#nextIncarnation++;
  }

  /** Deletes the log up to a time, and records how far. */
  prune(beforeMs: number): void {
    const snapshot = this.takeSnapshot();
    const isGone = (row: ChangeRow) => row.changedAtMs < beforeMs && this.#isVisible(snapshot, row.xactId);
    for (const row of this.#changes) if (isGone(row)) this.#prunedXact = Math.max(this.#prunedXact, row.xactId);
    this.#changes = this.#changes.filter((row) => !isGone(row));
  }

  checkpoint(): Checkpoint<V> {
    return {
      nextXact: this.#nextXact,
      committed: new Set(this.#committed),
      rows: new Map(this.#rows),
      changes: [...this.#changes],
      prunedXact: this.#prunedXact,
      incarnation: this.#incarnation,
    };
  }

  /**
   * Crash recovery: committed transactions stay, transactions under way are lost, and ids that no commit wrote to disk
   * are assigned again. Unlogged tables are empty.
   */
  crash(): void {
    this.lives++;
    this.#incarnation = undefined;
    this.#underWay.clear();
    this.#nextXact = this.#durableXact;
    this.#dropUncommitted(this.#rows, this.#changes);
  }

  /**
   * Continues from a checkpoint, and undoes everything after it. The timeline is a new one, unless the whole machine
   * was set back together with its memory; then unlogged tables are kept too.
   */
  restore(checkpoint: Checkpoint<V>, isNewTimeline: boolean): void {
    this.lives++;
    if (isNewTimeline) this.timeline++;
    this.#incarnation = isNewTimeline ? undefined : checkpoint.incarnation;
    this.#underWay.clear();
    this.#nextXact = checkpoint.nextXact;
    this.#durableXact = checkpoint.nextXact;
    this.#committed = new Set(checkpoint.committed);
    this.#dropUncommitted(checkpoint.rows, checkpoint.changes);
    this.#prunedXact = checkpoint.prunedXact;
  }

  #dropUncommitted(rows: ReadonlyMap<string, readonly RowVersion<V>[]>, changes: readonly ChangeRow[]): void {
    const isCommitted = ({ xactId }: { readonly xactId: number }) => this.#committed.has(xactId);
    this.#rows = new Map([...rows].map(([id, versions]) => [id, versions.filter(isCommitted)]));
    this.#changes = changes.filter(isCommitted);
  }

  /** Whether changes since a snapshot may have been deleted. A transaction that is still under way has lost nothing. */
  #mayHavePruned(since: ReturnType<typeof parseSnapshot>): boolean {
    const hasEnded = (xactId: number) => !this.#underWay.has(xactId);
    return (
      this.#prunedXact >= since.xmax || since.underWay.some((xactId) => xactId <= this.#prunedXact && hasEnded(xactId))
    );
  }

  #isVisible(snapshot: Snapshot, xactId: number): boolean {
    return sees(snapshot, xactId) && this.#committed.has(xactId);
  }
}

/** Like pg_visible_in_snapshot. */
export function sees({ xmax, underWay }: Pick<Snapshot, "xmax" | "underWay">, xactId: number): boolean {
  return xactId < xmax && !underWay.includes(xactId);
}

function snapshotText({ xmin, xmax, underWay }: Snapshot): string {
  return `${xmin}:${xmax}:${underWay.join(",")}`;
}

export function parseSnapshot(text: string): Omit<Snapshot, "incarnation"> {
  const [xmin, xmax, underWay] = text.split(":");
  return {
    xmin: Number(xmin),
    xmax: Number(xmax),
    underWay: underWay === "" ? [] : underWay!.split(",").map(Number),
  };
}
