import type { SqlEntityManager } from "@mikro-orm/sql";
import type { AuditEntry } from "../audit/audit-event.ts";
import type { Change, ChangeKind } from "../changes/change.ts";
import { newId } from "../lib/id.ts";
import { type FollowedHistory, PROOF, type ProofRow } from "./primary.ts";
import { ms, type Row } from "./row.ts";

/** Signals on it say that a change was committed. */
export const CHANGES_CHANNEL = "latchkey_changes";

/** A transaction in progress. */
export interface Transaction {
  readonly em: SqlEntityManager;
  /** The database's time at the beginning of the transaction, in whole milliseconds. */
  readonly now: Date;
  /** Tells all copies, on commit, that these changed: by one statement, however many they are. */
  changed(kind: ChangeKind, ...subjectIds: readonly string[]): Promise<void>;
  /** Puts on record what the transaction does. */
  record(entry: AuditEntry): Promise<void>;
}

/**
 * The first statement of a transaction, which proves the server.
 *
 * @param now SQL for the database's time
 * @param changes is filled with what changes
 * @throws DATABASE_UNAVAILABLE where a standby answers, or another history than the feed's
 */
export async function beginTransaction(
  em: SqlEntityManager,
  now: string,
  history: FollowedHistory,
  changes: Change[],
): Promise<{ readonly transaction: Transaction; readonly proof: ProofRow }> {
  const rows = await em.execute<Row[]>(`select ${ms(now)} as now, ${PROOF}`);
  history.prove(rows);
  const proof = rows[0]!;
  return { transaction: transactionOn(em, new Date(Math.floor(proof.now as number)), now, changes), proof };
}

/** @param nowSql SQL for the database's time */
function transactionOn(em: SqlEntityManager, now: Date, nowSql: string, changes: Change[]): Transaction {
  return {
    em,
    now,
    changed: async (kind, ...subjectIds) => {
      if (subjectIds.length === 0) return;
      await em.execute(
        `with told as (insert into changes (kind, subject_id) select ?, unnest(?::text[]))
         select pg_notify(?, '')`,
        [kind, `{${subjectIds.join(",")}}`, CHANGES_CHANNEL],
      );
      for (const subjectId of subjectIds) changes.push({ kind, subjectId });
    },
    record: async (entry) => {
      await em.execute(
        `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
         values (?, ${nowSql}, ?, ?, ?, ?, ?::jsonb)`,
        [
          newId("evt"),
          ...[entry.kind, entry.actorId, entry.subjectId, entry.clientIp],
          JSON.stringify(entry.details ?? {}),
        ],
      );
    },
  };
}
