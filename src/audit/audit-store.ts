import type { Page, PagePosition } from "../lib/page.ts";
import type { AuditEntry, AuditEvent } from "./audit-event.ts";
import type { CountedEntry } from "./counted-event.ts";

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

/** The trail. Events are written by the stores whose transactions they belong to, but for acts outside the database. */
export interface AuditStore {
  /** Puts on record what was done elsewhere. @throws DATABASE_UNAVAILABLE */
  record(entry: AuditEntry): Promise<void>;
  /**
   * Adds to the one event that counts entries of this kind and this `about` in the current hour of the database, or
   * begins it. Its time stays that of the first; its address becomes that of the entry. Processes that add at the same
   * time pass one after the other.
   *
   * @throws DATABASE_UNAVAILABLE
   */
  count(entry: CountedEntry): Promise<void>;
  /** Newest first by (time, id), at most `size`, behind `after`. @throws DATABASE_UNAVAILABLE */
  list(filter: AuditFilter, size: number, after: PagePosition | undefined): Promise<Page<AuditEvent>>;
  /** Deletes some of what is older. @returns whether more is left */
  prune(olderThanMs: number): Promise<boolean>;
}
