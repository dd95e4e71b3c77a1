import type { SqlEntityManager } from "@mikro-orm/sql";
import type { AuditEntry } from "../audit/audit-event.ts";
import type { Change, ChangeKind } from "../changes/change.ts";
import { newId } from "../lib/id.ts";
import { arrayLiteral, ms, type Row } from "./row.ts";
import { type FollowedHistory, PROOF, type ProofRow, refuseStandby } from "./standby-check.ts";

/** Signals on it say that a change was committed. */
export const CHANGES_CHANNEL = "latchkey_changes";

/** A transaction in progress. */
export interface Transaction {
  readonly em: SqlEntityManager;
  /** The database's time at the beginning of the transaction, in whole milliseconds. */
  readonly now: Date;
  /** Whether the transaction named this lock before it began, see locks.ts. */
  holds(lock: string): boolean;
  /** Tells all copies, on commit, that these changed: by one statement, however many they are. */
  changed(kind: ChangeKind, ...subjectIds: readonly string[]): Promise<void>;
  /**
   * Tells this process's copies, on commit, that these were found as the caller wants them: another process may have
   * changed them a moment ago, and a caller that has OK here must find here what OK says.
   */
  unchanged(kind: ChangeKind, ...subjectIds: readonly string[]): void;
  /** Puts on record what the transaction does. */
  record(entry: AuditEntry): Promise<void>;
  /** The same done to each of these: by one statement, however many they are. */
  recordEach(entry: Omit<AuditEntry, "subjectId">, subjectIds: readonly string[]): Promise<void>;
}

/** A transaction that has begun, and what its first statement proved; undefined where that was its server alone. */
export interface BegunTransaction {
  readonly tx: Transaction;
  readonly proof: ProofRow | undefined;
}

/** What a transaction begins with. */
export interface Beginning {
  /** SQL for the database's time. */
  readonly now: string;
  readonly history: FollowedHistory;
  readonly holds: Transaction["holds"];
  /** Is given what the transaction changes. */
  readonly changes: Change[];
}

/** Begins a transaction on `em`. @throws DATABASE_UNAVAILABLE where the first statement does not prove its server */
export type Begin = (em: SqlEntityManager, beginning: Beginning) => Promise<BegunTransaction>;

/** Refuses a standby, and another history than the change feed follows. */
export const beginTransaction: Begin = async (em, beginning) => {
  const [proof] = await em.execute<Row[]>(`select ${ms(beginning.now)} as now, ${PROOF}`);
  beginning.history.prove([proof!]);
  return { proof, tx: transactionOn(em, proof!.now as number, beginning) };
};

/** Refuses a standby alone: for migrations, before which there may be no table that knows the history. */
export const beginOnPrimary: Begin = async (em, beginning) => {
  const rows = await em.execute<Row[]>(`select ${ms(beginning.now)} as now, pg_is_in_recovery() as in_recovery`);
  refuseStandby(rows);
  return { proof: undefined, tx: transactionOn(em, rows[0]!.now as number, beginning) };
};

/** One row for each id of an event and its subject; what is the same of all comes after. */
function recordSql(now: string): string {
  return `insert into audit_events (id, subject_id, happened_at, kind, actor_id, client_ip, details)
    select each.id, each.subject_id, ${now}, ?, ?, ?, ?::jsonb from unnest(?::text[], ?::text[]) as each (id, subject_id)`;
}

function transactionOn(em: SqlEntityManager, nowMs: number, { now, holds, changes }: Beginning): Transaction {
  const recordEach: Transaction["recordEach"] = async (entry, subjectIds) => {
    if (subjectIds.length === 0) return;
    const { kind, actorId, clientIp, details = {} } = entry;
    const ids = subjectIds.map(() => newId("evt"));
    await em.execute(recordSql(now), [
      ...[kind, actorId, clientIp, JSON.stringify(details)],
      ...[arrayLiteral(ids), arrayLiteral(subjectIds)],
    ]);
  };
  return {
    em,
    now: new Date(Math.floor(nowMs)),
    holds,
    changed: async (kind, ...subjectIds) => {
      if (subjectIds.length === 0) return;
      await em.execute(
        `with told as (insert into changes (kind, subject_id) select ?, unnest(?::text[]))
         select pg_notify(?, '')`,
        [kind, arrayLiteral(subjectIds), CHANGES_CHANNEL],
      );
      for (const subjectId of subjectIds) changes.push({ kind, subjectId });
    },
    unchanged: (kind, ...subjectIds) => {
      for (const subjectId of subjectIds) changes.push({ kind, subjectId });
    },
    record: ({ subjectId, ...entry }) => recordEach(entry, [subjectId]),
    recordEach,
  };
}
