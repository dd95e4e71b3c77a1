import type { AuditEvent } from "../../audit/audit-event.ts";
import type { AuditFilter, AuditStore } from "../../audit/audit-store.ts";
import { added, type CountedEntry } from "../../audit/counted-event.ts";
import { HOUR_MS, MINUTE_MS } from "../../lib/clock.ts";
import { idOf } from "../../lib/id.ts";
import { type Page, type PagePosition, pageAt } from "../../lib/page.ts";
import type { ManagedDatabase, Row } from "../database.ts";
import { deleteOldest } from "../delete-oldest.ts";
import { EVENT_COLUMNS, toEvent } from "../rows/audit-event-rows.ts";
import { queueAgain } from "../transactions/export-queue.ts";

/** An event that counts refusals is exported at once, and while it grows at most once in this time. */
const COUNTED_AGAIN_MS = MINUTE_MS;

export class PostgresAuditStore implements AuditStore {
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  async count(entry: CountedEntry): Promise<void> {
    const { kind, about, actorId, subjectId, clientIp, details } = entry;
    await this.#database.transact(async (tx) => {
      const nowMs = tx.now.getTime();
      const id = idOf("evt", `${kind} ${about} ${Math.floor(nowMs / HOUR_MS)}`);
      const begun = await tx.em.execute<Row[]>(
        `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
         values (?, ${this.#database.now}, ?, ?, ?, ?, '{}') on conflict (id) do nothing returning id`,
        [id, kind, actorId, subjectId, clientIp],
      );
      const [row] = await tx.em.execute<Row[]>("select details from audit_events where id = ? for update", [id]);
      const sum = added(row!.details as Record<string, string>, {
        ...details,
        last_time: new Date(nowMs).toISOString(),
      });
      const changed = [clientIp, JSON.stringify(sum), id];
      await tx.em.execute("update audit_events set client_ip = ?, details = ?::jsonb where id = ?", changed);
      await tx.em.execute(queueAgain(this.#database.now), [id, subjectId, begun.length > 0 ? 0 : COUNTED_AGAIN_MS]);
    });
  }

  async list(filter: AuditFilter, size: number, after: PagePosition | undefined): Promise<Page<AuditEvent>> {
    const conditions: string[] = ["true"];
    const parameters: unknown[] = [];
    const where = (condition: string, ...values: unknown[]) => {
      conditions.push(condition);
      parameters.push(...values);
    };
    if (filter.subjectId !== "") where("subject_id = ?", filter.subjectId);
    if (filter.actorId !== "") where("actor_id = ?", filter.actorId);
    if (filter.startMs !== undefined) where("happened_at >= ?::timestamptz", isoTime(filter.startMs));
    if (filter.endMs !== undefined) where("happened_at < ?::timestamptz", isoTime(filter.endMs));
    if (after !== undefined) where("(happened_at, id) < (?::timestamptz, ?)", isoTime(after.createdAtMs), after.id);
    const rows = await this.#database.read(
      `select ${EVENT_COLUMNS} from audit_events e
       where ${conditions.join(" and ")} order by happened_at desc, id desc limit ?::int`,
      [...parameters, size + 1],
    );
    return pageAt(rows.map(toEvent), size, ({ happenedAtMs, id }) => ({ createdAtMs: happenedAtMs, id }));
  }

  prune(olderThanMs: number): Promise<boolean> {
    return deleteOldest(this.#database, "audit_events", olderThanMs);
  }
}

/**
 * A time as text for PostgreSQL, limited to the years 1970 to 9999: PostgreSQL can't read other years as JavaScript
 * writes them.
 */
function isoTime(timeMs: number): string {
  return new Date(Math.min(Math.max(timeMs, 0), 253_402_300_799_000)).toISOString();
}
