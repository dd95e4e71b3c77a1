import assert from "node:assert/strict";

/**
 * As much of PostgreSQL as the change feed rests on: transaction ids that are given at the first write and commit in
 * another order, snapshots, sequence numbers that are drawn before, rows of which a snapshot sees one version, a history
 * that a failover cuts short. A value is a whole row; undefined is a row that is not there.
 */

/** What pg_current_snapshot() returns. */
export interface Snapshot {
  readonly xmin: number;
  readonly xmax: number;
  /** Between the two, in order. */
  readonly underWay: readonly number[];
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
}

/** What the model's statement of a poll returns, the epoch and the clock apart. */
export interface PollRows {
  readonly snapshot: string;
  readonly xmin: number;
  readonly xmax: number;
  readonly hasGap: boolean;
  readonly changes: readonly ChangeRow[];
}

export class PostgresModel<V> {
  timeline = 1;
  /** Counts lost histories, also those that the epoch does not show. */
  incarnation = 0;
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
  }

  rollBack(xactId: number): void {
    this.#underWay.delete(xactId);
  }

  takeSnapshot(): Snapshot {
    const underWay = [...this.#underWay].sort((a, b) => a - b);
    return { xmin: underWay[0] ?? this.#nextXact, xmax: this.#nextXact, underWay };
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
      xmin: snapshot.xmin,
      xmax: snapshot.xmax,
      hasGap: before !== undefined && this.#mayHavePruned(before),
      changes: before === undefined ? [] : rows.filter((row) => !sees(before, row.xactId)),
    };
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
    };
  }

  /** Goes on from a checkpoint: what came after never was. On a timeline of its own, unless a disk was put back. */
  restore(checkpoint: Checkpoint<V>, isNewTimeline: boolean): void {
    this.incarnation++;
    if (isNewTimeline) this.timeline++;
    this.#underWay.clear();
    this.#nextXact = checkpoint.nextXact;
    this.#committed = new Set(checkpoint.committed);
    this.#rows = new Map(
      [...checkpoint.rows].map(([id, versions]) => [id, versions.filter(({ xactId }) => this.#committed.has(xactId))]),
    );
    this.#changes = checkpoint.changes.filter(({ xactId }) => this.#committed.has(xactId));
    this.#prunedXact = checkpoint.prunedXact;
  }

  /** What was under way then and still is has lost nothing. */
  #mayHavePruned(since: Snapshot): boolean {
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
export function sees({ xmax, underWay }: Snapshot, xactId: number): boolean {
  return xactId < xmax && !underWay.includes(xactId);
}

function snapshotText({ xmin, xmax, underWay }: Snapshot): string {
  return `${xmin}:${xmax}:${underWay.join(",")}`;
}

export function parseSnapshot(text: string): Snapshot {
  const [xmin, xmax, underWay] = text.split(":");
  return {
    xmin: Number(xmin),
    xmax: Number(xmax),
    underWay: underWay === "" ? [] : underWay!.split(",").map(Number),
  };
}
