/**
 * Transactions and statements on the pools' connections.
 *
 *   transaction.ts            what a transaction can do, and how it begins
 *   abortable-transaction.ts  a transaction ends with the call that it is for
 *   statements.ts             runs statements and transactions, and runs a transaction again after a conflict
 *   statement-span.ts         what a span of OpenTelemetry says of a statement
 *   locks.ts                  the names of the locks that a transaction may wait for
 *   export-queue.ts           the events that wait for the export of the audit trail
 */
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { AuditEntry } from "../../audit/audit-event.ts";
import type { Change, ChangeKind } from "../../changes/change.ts";
import { newId } from "../../lib/id.ts";
import { CHANGES_CHANNEL } from "../connections/signals.ts";
import type { FollowedHistory } from "../history/followed-history.ts";
import { PROOF, type ProofRow, refuseStandby } from "../history/standby-check.ts";
import { arrayLiteral, ms, type Row } from "../row.ts";
import { queueFrom } from "./export-queue.ts";

/** A transaction in progress. */
export interface Transaction {
  readonly em: SqlEntityManager;
  /** The database's time at the beginning of the transaction, in whole milliseconds. */
  readonly now: Date;
  /** Whether the transaction named this lock before it began. See locks.ts. */
  holds(lock: string): boolean;
  /** Reports changes to all processes on COMMIT. One statement, whatever the number of subjects. */
  changed(kind: ChangeKind, ...subjectIds: readonly string[]): Promise<void>;
  /**
   * Reports to this process's copies, on COMMIT, that these subjects were already as the caller wants them. Another
   * process may have changed them a moment ago, and a caller that gets OK must see that state in this process.
   */
  unchanged(kind: ChangeKind, ...subjectIds: readonly string[]): void;
  /** Writes an event of the transaction into the audit trail. */
  record(entry: AuditEntry): Promise<void>;
  /** Writes the same event for each of these subjects. One statement, whatever their number. */
  recordEach(entry: Omit<AuditEntry, "subjectId">, subjectIds: readonly string[]): Promise<void>;
}

/** A transaction that has begun, with the proof of its first statement; undefined if only the server was checked. */
export interface BegunTransaction {
  readonly tx: Transaction;
  readonly proof: ProofRow | undefined;
}

/** Parameters of the beginning of a transaction. */
export interface Beginning {
  /** SQL for the database's time. */
  readonly now: string;
  readonly history: FollowedHistory;
  readonly holds: Transaction["holds"];
  /** The transaction adds its changes to this list. */
  readonly changes: Change[];
}

/** Begins a transaction on `em`. @throws DATABASE_UNAVAILABLE if the first statement does not prove its server */
export type Begin = (em: SqlEntityManager, beginning: Beginning) => Promise<BegunTransaction>;

/** Refuses a standby, and any history except the one that the change feed follows. */
export const beginTransaction: Begin = async (em, beginning) => {
  const [proof] = await em.execute<Row[]>(`select ${ms(beginning.now)} as now, ${PROOF}`);
  beginning.history.prove([proof!]);
  return { proof, tx: transactionOn(em, proof!.now as number, beginning) };
};

/** Refuses only a standby. For migrations: before them the table that names the history may not exist. */
export const beginOnPrimary: Begin = async (em, beginning) => {
  const rows = await em.execute<Row[]>(`select ${ms(beginning.now)} as now, pg_is_in_recovery() as in_recovery`);
  refuseStandby(rows);
  return { proof: undefined, tx: transactionOn(em, rows[0]!.now as number, beginning) };
};

/** Inserts one event for each id and subject, and queues it for the export. All have the other columns in common. */
function recordSql(now: string): string {
  return `with event as (
      insert into audit_events (id, subject_id, happened_at, kind, actor_id, client_ip, details)
      select each.id, each.subject_id, ${now}, p.kind, p.actor_id, p.client_ip, p.details
      from (select ? as kind, ? as actor_id, ? as client_ip, ?::jsonb as details) p,
        unnest(?::text[], ?::text[]) as each (id, subject_id)
      returning id, subject_id
    ) ${queueFrom("event", now)}`;
}

function transactionOn(em: SqlEntityManager, nowMs: number, { now, holds, changes }: Beginning): Transaction {
  const recordEach: Transaction["recordEach"] = async (entry, subjectIds) => {
    if (subjectIds.length === 0) return;
    const { kind, actorId, clientIp, details = {} } = entry;
    const ids = subjectIds.map(() => newId("evt"));
    const event = [kind, actorId, clientIp, JSON.stringify(details)];
    await em.execute(recordSql(now), [...event, arrayLiteral(ids), arrayLiteral(subjectIds)]);
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
