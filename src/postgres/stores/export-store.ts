import {
  type Backlog,
  DESTINATION_NAMES,
  type DestinationName,
  type ExportStore,
  MOST_COUNTED,
  MOST_OF_SUBJECT,
  type QueuedEvent,
} from "../../audit/export/export-store.ts";
import { type ManagedDatabase, ms, msOf, type Row } from "../database.ts";
import { inPlaces, MAX_DELETED } from "../delete-oldest.ts";
import { arrayLiteral } from "../row.ts";
import { EVENT_COLUMNS, toEvent } from "../rows/audit-event-rows.ts";

/** Subjects with a first event that is due, for one page. With the events without a subject they fit in a delivery. */
const DUE_SUBJECTS = 150;
/** Maximum subjects that one page looks at. The others are of delayed events. */
const SUBJECTS = 1000;
/** Maximum pages that one call looks through for an event that is due. */
const PAGES = 10;

export class PostgresExportStore implements ExportStore {
  readonly #database: ManagedDatabase;
  /** By destination the last subject that was looked at. Without one, the next page begins with the first subject. */
  readonly #lastSubjects = new Map<DestinationName, string>();

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
    for (let page = 1; ; page++) {
      const subjects = await this.#nextSubjects(destination);
      const queued = await this.#firstOf(destination, subjects, size);
      if (queued.length > 0 || page === PAGES || !this.#lastSubjects.has(destination)) return queued;
    }
  }

  /**
   * The next subjects whose first event is not delayed. The index is entered once for each subject, so that its number
   * of events does not matter.
   */
  async #nextSubjects(destination: DestinationName): Promise<readonly string[]> {
    const rows = await this.#database.read(
      `with recursive s (looked, due, subject_id, is_open) as (
         select 0, 0, ?::text, false
         union all
         select s.looked + 1, s.due + h.is_due::int, h.subject_id, h.is_due or h.attempts = 0
         from s, lateral (
           select subject_id, attempts, due_at <= ${this.#database.now} as is_due from audit_outbox
           where destination = ? and subject_id > s.subject_id order by subject_id, id limit 1
         ) h
         where s.looked < ${SUBJECTS} and s.due < ${DUE_SUBJECTS}
       )
       select * from s where looked > 0 order by looked`,
      [this.#lastSubjects.get(destination) ?? "", destination],
    );
    const last = rows.at(-1);
    const isEnd = last === undefined || ((last.looked as number) < SUBJECTS && (last.due as number) < DUE_SUBJECTS);
    if (isEnd) this.#lastSubjects.delete(destination);
    else this.#lastSubjects.set(destination, last.subject_id as string);
    return rows.filter(({ is_open }) => is_open).map(({ subject_id }) => subject_id as string);
  }

  /** The first events of these subjects, and of those without a subject. */
  async #firstOf(
    destination: DestinationName,
    subjects: readonly string[],
    size: number,
  ): Promise<readonly QueuedEvent[]> {
    const { now } = this.#database;
    const rows = await this.#database.read(
      `with due as (
         select o.*, row_number() over p as place, bool_or(o.attempts > 0 and o.due_at > ${now}) over p as is_held
         from unnest(?::text[]) s (subject_id), lateral (
           select * from audit_outbox a where a.destination = ? and a.subject_id = s.subject_id
           order by a.id limit ${MOST_OF_SUBJECT}
         ) o
         window p as (partition by o.subject_id order by o.id)
         union all
         (select a.*, 1, false from audit_outbox a where a.destination = ? and a.subject_id = '' and a.due_at <= ${now}
          order by a.due_at, a.id limit ${MOST_OF_SUBJECT})
       )
       select o.id::text as queue_id, o.revision, o.attempts, ${EVENT_COLUMNS}
       from due o left join audit_events e on e.id = o.event_id
       where o.due_at <= ${now} and not o.is_held
       order by o.place, o.attempts, o.id limit ?::int`,
      [arrayLiteral(subjects), destination, destination, size],
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

  async removeLost(destination: DestinationName): Promise<number> {
    // The trail deletes its oldest events, and those are the first of the queue. So no other ones are read.
    const places = `select o.ctid from (
        select ctid, event_id from audit_outbox where destination = ?
        order by id limit ${MAX_DELETED} for update skip locked
      ) o where not exists (select from audit_events e where e.id = o.event_id)`;
    return this.#database.write(`delete from audit_outbox where ${inPlaces(places)}`, [destination]);
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
