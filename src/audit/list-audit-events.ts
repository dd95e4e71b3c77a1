import { invalidField } from "../lib/errors.ts";
import type { AuditFilter, AuditPage, AuditPosition, AuditStore } from "./audit-store.ts";

export interface ListAuditEventsDeps {
  readonly audit: Pick<AuditStore, "list">;
}

export interface ListAuditEventsInput extends AuditFilter {
  readonly size: number;
  readonly after: AuditPosition | undefined;
}

const MAX_ID_LENGTH = 64;

/** The audit trail, newest first. @throws INVALID_FIELD, DATABASE_UNAVAILABLE */
export function listAuditEvents(deps: ListAuditEventsDeps, input: ListAuditEventsInput): Promise<AuditPage> {
  for (const [field, id] of [
    ["subject_id", input.subjectId],
    ["actor_id", input.actorId],
  ] as const) {
    if (id.length > MAX_ID_LENGTH || !/^[\x21-\x7e]*$/.test(id)) throw invalidField(field, "must be an id, or empty");
  }
  if (input.startMs !== undefined && input.endMs !== undefined && input.startMs > input.endMs) {
    throw invalidField("end_time", "must not be before start_time");
  }
  return deps.audit.list(input, input.size, input.after);
}
