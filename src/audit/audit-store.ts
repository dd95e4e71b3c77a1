import type { AuditEvent } from "./audit-event.ts";

export interface AuditFilter {
  /** Empty: of any subject. */
  readonly subjectId: string;
  /** Empty: of any actor. */
  readonly actorId: string;
  /** At or after. */
  readonly startMs: number | undefined;
  /** Before. */
  readonly endMs: number | undefined;
}

/** Where a page ended. */
export interface AuditPosition {
  readonly createdAtMs: number;
  readonly id: string;
}

export interface AuditPage {
  readonly events: readonly AuditEvent[];
  readonly next: AuditPosition | undefined;
}

/** The trail, for reading. Events are written by the stores whose transactions they belong to. */
export interface AuditStore {
  /** Newest first by (time, id), at most `size`, behind `after`. @throws DATABASE_UNAVAILABLE */
  list(filter: AuditFilter, size: number, after: AuditPosition | undefined): Promise<AuditPage>;
  /** Deletes what is older, in portions, so that no transaction is long. */
  prune(olderThanMs: number): Promise<void>;
}
