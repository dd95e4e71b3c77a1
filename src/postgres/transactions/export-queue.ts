/**
 * The queue of audit events that wait for their export: a row for each destination and event, written by the
 * transaction that writes the event. Without a destination in `audit_exports` no row is written.
 *
 * The rows have ids of one sequence. A transaction that begins after the COMMIT of another one gets higher ids. So the
 * order by id is an order in which events of one subject happened.
 */

/** Queues the events of a table expression with the columns `id` and `subject_id`. They are due now. */
export function queueFrom(events: string, now: string): string {
  return `insert into audit_outbox (destination, event_id, subject_id, queued_at, due_at)
    select x.destination, e.id, e.subject_id, ${now}, ${now} from ${events} e cross join audit_exports x`;
}

/**
 * Queues an event that has changed. If it waits already, it keeps its place and its time. The higher revision tells the
 * exporter that the event changed after it was read. Parameters: id, subject id, delay in milliseconds.
 */
export function queueAgain(now: string): string {
  return `insert into audit_outbox (destination, event_id, subject_id, queued_at, due_at)
    select x.destination, e.id, e.subject_id, ${now}, ${now} + e.delay_ms * interval '1 millisecond'
    from (select ?::text as id, ?::text as subject_id, ?::float8 as delay_ms) e cross join audit_exports x
    order by x.destination
    on conflict (destination, event_id) do update set revision = audit_outbox.revision + 1`;
}
