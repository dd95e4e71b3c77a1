import assert from "node:assert/strict";

/**
 * As much of PostgreSQL as the change feed rests on: transaction ids that are given at the first write and commit in
 * another order, snapshots, sequence numbers that are drawn before, rows of which a snapshot sees one version, a history
 * that a failover cuts short, a crash after which ids are given again. A value is a whole row; undefined is a row that is
 * not there.
 */

/** What pg_current_snapshot() returns. */
export interface Snapshot {
  readonly xmin: number;
  readonly xmax: number;
  /** Between the two, in order. */
  readonly underWay: readonly number[];
  /** The row of the unlogged table that the snapshot sees. */
  readonly incarnation: number | undefined;
}

export interface ChangeRow {
  readonly sequence: number;
  readonly xactId: number;
  readonly kind: "KEY" | "OWNER";
  readonly subjectId: string;
  readonly changedAtMs: number;
}

interface RowVersion<V> {
  readonly xactId: number;
  readonly value: V | undefined;
}

/** All that was durable at a moment: what a standby has that is behind by so much. */
export interface Checkpoint<V> {
  readonly nextXact: number;
  readonly committed: ReadonlySet<number>;
  readonly rows: ReadonlyMap<string, readonly RowVersion<V>[]>;
  readonly changes: readonly ChangeRow[];
  readonly prunedXact: number;
  readonly incarnation: number | undefined;
}

/** What the model's statement of a poll returns, the epoch and the clock apart. */
export interface PollRows {
  readonly snapshot: string;
  /** undefined: no row of this history is there. */
  readonly incarnation: number | undefined;
  readonly xmin: number;
  readonly xmax: number;
  readonly hasGap: boolean;
  readonly changes: readonly ChangeRow[];
}

export class PostgresModel<V> {
  timeline = 1;
  /** Counts lives of the server: each one ends all connections. */
  lives = 0;
  #incarnation: number | undefined;
  #nextIncarnation = 1;
  /** The first id that a crash gives again: no id from here on is on disk. */
  #durableXact = 700;
  #nextXact = 700;
  #nextSequence = 1;
  readonly #underWay = new Set<number>();
  #committed = new Set<number>();
  #rows = new Map<string, RowVersion<V>[]>();
  #changes: ChangeRow[] = [];
  #prunedXact = 0;

  /** Nextval: drawn before the transaction has its id. */
  drawSequence(): number {
    return this.#nextSequence++;
  }

  /** The transaction writes for the first time. */
  beginXact(): number {
    this.#underWay.add(this.#nextXact);
    return this.#nextXact++;
  }

  /** Others in the cluster use ids too. */
  burnXacts(count: number): void {
    this.#nextXact += count;
  }

  /** A row and the note of its change, in one transaction that is still under way. */
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

  /** The statement of a poll, in its one snapshot. */
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

  /** Writes the row of the unlogged table where there is none. */
  beginIncarnation(): void {
    this.#incarnation ??= this.#nextIncarnation++;
  }

  /** Deletes the log up to a time and remembers how far. */
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
   * Crash recovery: what was committed stays, what was under way is gone, and ids that no commit put on disk are given
   * again. Unlogged tables are empty.
   */
  crash(): void {
    this.lives++;
    this.#incarnation = undefined;
    this.#underWay.clear();
    this.#nextXact = this.#durableXact;
    this.#dropUncommitted(this.#rows, this.#changes);
  }

  /**
   * Goes on from a checkpoint: what came after never was. On a timeline of its own, unless the whole machine was set back
   * with its memory, which keeps unlogged tables too.
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

  /** What was under way then and still is has lost nothing. */
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

/** pg_visible_in_snapshot. */
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
