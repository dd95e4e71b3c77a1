import { invalidField } from "../lib/errors.ts";
import type { Page, PagePosition } from "../lib/page.ts";
import type { AuditEvent } from "./audit-event.ts";
import type { AuditFilter, AuditStore } from "./audit-store.ts";

export interface ListAuditEventsDeps {
  readonly audit: Pick<AuditStore, "list">;
}

export interface ListAuditEventsInput extends AuditFilter {
  readonly size: number;
  readonly after: PagePosition | undefined;
}

/**
 * An id of this service, the thumbprint of a signing key, or `bootstrap`. The pattern refuses a secret that a caller
 * sends by mistake.
 */
const ID = /^([a-z]{3}_[0-9A-Za-z]{16}|[\w-]{43}|bootstrap)?$/;

/** Lists audit events, newest first. @throws INVALID_FIELD, DATABASE_UNAVAILABLE */
export function listAuditEvents(deps: ListAuditEventsDeps, input: ListAuditEventsInput): Promise<Page<AuditEvent>> {
  for (const [field, id] of [
    ["subject_id", input.subjectId],
    ["actor_id", input.actorId],
  ] as const) {
    if (!ID.test(id)) throw invalidField(field, "must be an id, or empty");
  }
  if (input.startMs !== undefined && input.endMs !== undefined && input.startMs > input.endMs) {
    throw invalidField("end_time", "must not be before start_time");
  }
  return deps.audit.list(input, input.size, input.after);
}
