import {
  type Backlog,
  DESTINATION_NAMES,
  type DestinationName,
  type ExportStore,
  MOST_COUNTED,
  type QueuedEvent,
} from "../../audit/export/export-store.ts";
import { type ManagedDatabase, ms, msOf, type Row } from "../database.ts";
import { inPlaces, MAX_DELETED } from "../delete-oldest.ts";
import { arrayLiteral } from "../row.ts";
import { EVENT_COLUMNS, toEvent } from "../rows/audit-event-rows.ts";

export class PostgresExportStore implements ExportStore {
  readonly #database: ManagedDatabase;

  constructor(database: ManagedDatabase) {
    this.#database = database;
  }

  async lead(destination: DestinationName, holder: string, leaseMs: number): Promise<boolean> {
    const { now } = this.#database;
    const rows = await this.#database.write(
      `insert into audit_exports as x (destination, holder, leased_until)
       values (?, ?, ${now} + ?::float8 * interval '1 millisecond')
       on conflict (destination) do update set holder = excluded.holder, leased_until = excluded.leased_until
       where x.holder = excluded.holder or x.leased_until <= ${now}`,
      [destination, holder, leaseMs],
    );
    return rows === 1;
  }

  async resign(destination: DestinationName, holder: string): Promise<void> {
    await this.#database.write(
      `update audit_exports set leased_until = ${this.#database.now} where destination = ? and holder = ?`,
      [destination, holder],
    );
  }

  async next(destination: DestinationName, size: number): Promise<readonly QueuedEvent[]> {
    const { now } = this.#database;
    const rows = await this.#database.read(
      `select o.id::text as queue_id, o.revision, o.attempts, ${EVENT_COLUMNS}
       from audit_outbox o left join audit_events e on e.id = o.event_id
       where o.destination = ? and o.due_at <= ${now}
         and not exists (select from audit_outbox d where d.attempts > 0 and d.destination = o.destination
           and d.subject_id = o.subject_id and d.subject_id <> '' and d.id < o.id and d.due_at > ${now})
       order by o.id limit ?::int`,
      [destination, size],
    );
    return rows.map(toQueued);
  }

  async remove(events: readonly QueuedEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.#database.write(
      `delete from audit_outbox o using unnest(?::bigint[], ?::int[]) as done (id, revision)
       where o.id = done.id and o.revision = done.revision`,
      [arrayLiteral(events.map(({ queueId }) => queueId)), arrayLiteral(events.map(({ revision }) => `${revision}`))],
    );
  }

  async delay({ queueId }: QueuedEvent, delayMs: number): Promise<void> {
    await this.#database.write(
      `update audit_outbox set attempts = attempts + 1, due_at = ${this.#database.now} + ?::float8 * interval '1 millisecond'
       where id = ?::bigint`,
      [delayMs, queueId],
    );
  }

  async backlog(destination: DestinationName): Promise<Backlog> {
    const [row] = await this.#database.read(
      `select count(*)::int as waiting, ${ms(`${this.#database.now} - min(o.queued_at)`)} as oldest_age_ms
       from (select queued_at from audit_outbox where destination = ? order by id limit ${MOST_COUNTED}) o`,
      [destination],
    );
    const { waiting, oldest_age_ms } = row!;
    return Object.freeze({ waiting: waiting as number, oldestAgeMs: Math.max(0, msOf(oldest_age_ms) ?? 0) });
  }

  async forget(idleMs: number): Promise<number> {
    await this.#database.write(
      `delete from audit_exports where leased_until < ${this.#database.now} - ?::float8 * interval '1 millisecond'`,
      [idleMs],
    );
    // `offset 0` makes PostgreSQL find the forgotten destinations first, so that no event of another one is read.
    const forgotten = `select d.destination from unnest(?::text[]) d (destination)
      where not exists (select from audit_exports x where x.destination = d.destination) offset 0`;
    const places = `select o.ctid from (${forgotten}) f, lateral (
        select ctid from audit_outbox where destination = f.destination
        order by id limit ${MAX_DELETED} for update skip locked
      ) o`;
    return this.#database.write(`delete from audit_outbox where ${inPlaces(places)}`, [
      arrayLiteral(DESTINATION_NAMES),
    ]);
  }
}

function toQueued(row: Row): QueuedEvent {
  return Object.freeze({
    queueId: row.queue_id as string,
    revision: row.revision as number,
    attempts: row.attempts as number,
    event: row.id === null ? undefined : toEvent(row),
  });
}
