import type { Page, PagePosition } from "../lib/page.ts";
import type { AuditEvent } from "./audit-event.ts";
import type { CountedEntry } from "./counted-event.ts";

export interface AuditFilter {
  /** Empty for any subject. */
  readonly subjectId: string;
  /** Empty for any actor. */
  readonly actorId: string;
  /** Events at or after this time. */
  readonly startMs: number | undefined;
  /** Events before this time. */
  readonly endMs: number | undefined;
}

/** Stores audit events, except those of changes. The store that makes a change writes its event itself. */
export interface AuditStore {
  /**
   * Adds the entry to the event of its kind, its `about` and the current hour by the database's clock, or begins that
   * event. The event's time stays that of the first entry; its address becomes that of the latest one. Processes that
   * add at the same time run one after another.
   *
   * @throws DATABASE_UNAVAILABLE
   */
  count(entry: CountedEntry): Promise<void>;
  /** Lists at most `size` events after `after`, newest first by (time, id). @throws DATABASE_UNAVAILABLE */
  list(filter: AuditFilter, size: number, after: PagePosition | undefined): Promise<Page<AuditEvent>>;
  /** Deletes some of the events whose age is above `olderThanMs`. @returns whether more are left */
  prune(olderThanMs: number): Promise<boolean>;
}
