/** That answers are the primary's: a standby shows what was, and nobody could tell. */
import { DomainError } from "../lib/errors.ts";

/**
 * The statement with a row that is always there: it says of which server and of when the others are.
 * @param nowMs SQL for the time, in milliseconds
 */
export function onPrimary(sql: string, nowMs: string): string {
  return `select w.in_recovery, w.now_ms, r.*
    from (select pg_is_in_recovery() as in_recovery, ${nowMs} as now_ms) w
    left join (select true as is_row, q.* from (${sql}) q) r on true`;
}

/** The same for a statement with an ORDER BY: its rows come in its order. */
export function onPrimaryInOrder(sql: string, nowMs: string): string {
  return `${onPrimary(`select row_number() over () as row_order, o.* from (${sql}) o`, nowMs)} order by r.row_order`;
}

/** A standby may be behind. Its first row says that it is one, with the SQLSTATE that its refusal to write would have. */
export function refuseStandby([row]: readonly Readonly<Record<string, unknown>>[]): void {
  if (row!.in_recovery) throw away("the database is a standby", "25006");
}

/** What counts as a database that is away, with the code that the driver or the server would give. */
export function away(message: string, code: string): DomainError {
  return new DomainError("DATABASE_UNAVAILABLE", message, {
    retryAfterMs: 1000,
    cause: Object.assign(new Error(message), { code }),
  });
}
