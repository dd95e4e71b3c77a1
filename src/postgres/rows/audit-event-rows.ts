import type { AuditEvent, AuditKind } from "../../audit/audit-event.ts";
import { ms, type Row } from "../database.ts";

/** The columns of an event, as `toEvent` reads them. The table is `e`. */
export const EVENT_COLUMNS = `e.id, ${ms("e.happened_at")} as happened_ms, e.kind, e.actor_id, e.subject_id, e.client_ip, e.details`;

export function toEvent(row: Row): AuditEvent {
  return Object.freeze({
    id: row.id as string,
    happenedAtMs: Math.round(row.happened_ms as number),
    kind: row.kind as AuditKind,
    actorId: row.actor_id as string,
    subjectId: row.subject_id as string,
    clientIp: row.client_ip as string,
    details: Object.freeze(row.details as Record<string, string>),
  });
}
