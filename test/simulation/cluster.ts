import { PositionRules } from "./position-rules.ts";
import { type Checkpoint, PostgresModel } from "./postgres-model.ts";
import type { SeededRandom } from "./random.ts";
import { type Row, Truth } from "./truth.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** How the server reacts to requests: it answers, refuses them, or stays silent. */
export type Reachability = "answers" | "refuses" | "is silent";

/** A change that was committed to the log of changes. */
export interface Committed {
  readonly kind: "KEY" | "OWNER";
  readonly subjectId: string;
  readonly xactId: number;
  /** The life of the server in which it was committed. */
  readonly life: number;
  /** As in the log of changes, by the database's clock. */
  readonly changedAtMs: number;
  /** True time at which a snapshot could first see it. */
  readonly atMs: number;
  /** How a failover undid it: openly, with another timeline, or silently, with only lower transaction ids. */
  undone: "openly" | "silently" | undefined;
}

export interface Transaction {
  readonly kind: "KEY" | "OWNER";
  readonly subjectId: string;
  readonly row: Row | undefined;
  /** Runs when the commit is visible. */
  readonly onCommit: (committed: Committed) => void;
}

/** PostgreSQL in virtual time: transactions take time, servers fail, and other servers take over. */
export class Cluster {
  readonly model = new PostgresModel<Row>();
  readonly truth = new Truth();
  /** Every change that was ever visible, in the order of the commits. */
  readonly committed: Committed[] = [];
  reachability: Reachability = "answers";
  /** A standby answers, because there is no primary yet. */
  isInRecovery = false;
  /** True time of the last failover. */
  tookOverAtMs = Number.NEGATIVE_INFINITY;
  /** True time at which the database's clock was last set. */
  clockSetAtMs = Number.NEGATIVE_INFINITY;
  #clockOffsetMs: number;
  #nextVersion = 1;
  /** The positions of the snapshots that processes polled. */
  readonly positions = new PositionRules(this.committed);
  /** Rows that a transaction holds locked. */
  readonly #locked = new Set<string>();
  readonly #onSignal: (() => void)[] = [];
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;

  constructor(time: VirtualTime, random: SeededRandom) {
    this.#time = time;
    this.#random = random;
    this.#clockOffsetMs = random.between(1.7e12, 1.8e12);
  }

  /** The database's clock at a true time. */
  clockAt(trueMs: number): number {
    return trueMs + this.#clockOffsetMs;
  }

  setClock(byMs: number): void {
    this.#clockOffsetMs += byMs;
    this.clockSetAtMs = this.#time.nowMs;
  }

  onSignal(listener: () => void): void {
    this.#onSignal.push(listener);
  }

  newRow(state: Row["state"]): Row {
    return { version: this.#nextVersion++, state };
  }

  /** Runs a transaction: it draws the sequence number, then the id, then commits, with pauses between. */
  run(transaction: Transaction): void {
    const { model } = this;
    const { subjectId } = transaction;
    if (this.#locked.has(subjectId) || this.reachability !== "answers" || this.isInRecovery) return;
    this.#locked.add(subjectId);
    const { lives } = model;
    const sequence = model.drawSequence();
    const isAlive = () => model.lives === lives;
    this.#time.after(this.#random.pause(1), () => {
      if (!isAlive()) return;
      const xactId = model.beginXact();
      const changedAtMs = this.clockAt(this.#time.nowMs);
      model.write(transaction.row, { sequence, xactId, kind: transaction.kind, subjectId, changedAtMs });
      this.#time.after(this.#workMs(), () => {
        if (isAlive()) this.#end(transaction, xactId, changedAtMs);
      });
    });
  }

  /** A backend is killed: the server ends all connections and recovers. */
  crash(): void {
    this.model.crash();
    this.#locked.clear();
  }

  /** A server that is behind takes over, or a machine is set back. Changes that it lacks are undone. */
  takeOver(checkpoint: Checkpoint<Row>, isNewTimeline: boolean): void {
    this.model.restore(checkpoint, isNewTimeline);
    this.tookOverAtMs = this.#time.nowMs;
    this.#locked.clear();
    for (const change of this.committed) {
      if (!checkpoint.committed.has(change.xactId)) change.undone ??= isNewTimeline ? "openly" : "silently";
    }
    const snapshot = this.model.takeSnapshot();
    for (const subject of this.truth.subjects) {
      this.truth.set(subject, this.model.read(snapshot, subject), this.#time.nowMs);
    }
  }

  #workMs(): number {
    return this.#random.chance(0.2) ? this.#random.between(100, 8000) : this.#random.pause(5);
  }

  #end({ kind, subjectId, row, onCommit }: Transaction, xactId: number, changedAtMs: number): void {
    this.#locked.delete(subjectId);
    if (this.#random.chance(0.08)) {
      this.model.rollBack(xactId);
      return;
    }
    const life = this.model.lives;
    this.model.commit(xactId);
    const atMs = this.#time.nowMs;
    this.truth.set(subjectId, row, atMs, { xactId, life });
    const committed = { kind, subjectId, xactId, life, changedAtMs, atMs, undone: undefined };
    this.committed.push(committed);
    for (const tell of this.#onSignal) tell();
    onCommit(committed);
  }
}
