import type { SqlEntityManager } from "@mikro-orm/sql";
import type { AuditEntry } from "../audit/audit-event.ts";
import type { Change, ChangeKind } from "../changes/change.ts";
import { newId } from "../lib/id.ts";

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

/** Signals on it say that a change was committed. */
export const CHANGES_CHANNEL = "latchkey_changes";

/**
 * @param now SQL for the database's time
 * @param nowMs the database's time at the beginning of the transaction
 * @param changes receives what the transaction changes
 */
export function transactionOn(em: SqlEntityManager, now: string, nowMs: number, changes: Change[]): Transaction {
  return {
    em,
    now: new Date(Math.floor(nowMs)),
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
         values (?, ${now}, ?, ?, ?, ?, ?::jsonb)`,
        [
          newId("evt"),
          ...[entry.kind, entry.actorId, entry.subjectId, entry.clientIp],
          JSON.stringify(entry.details ?? {}),
        ],
      );
    },
  };
}
