/**
 * The history of the database, and the proof that an answer belongs to it. A standby shows an older state. After a
 * failover without fencing, an abandoned primary answers as if nothing had happened. So each read and each transaction
 * carries a proof of its server.
 *
 *   standby-check.ts     the proof: a row that names the server and its history; refuses a standby
 *   followed-history.ts  the history that the change feed follows; refuses answers from any other
 *   incarnation.ts       the random id of a history, and how one begins
 */
import { unavailable } from "../errors/driver-errors.ts";
import { INCARNATION } from "./incarnation.ts";

/** A row that tells from which server and from which history an answer is. */
export type ProofRow = Readonly<Record<string, unknown>>;

/** SQL: the columns of a proof. */
export const PROOF = `pg_is_in_recovery() as in_recovery, ${INCARNATION} as incarnation`;

/**
 * The statement, joined with a proof: one row always comes, with the server, its history and its time.
 *
 * @param nowMs SQL for the time, in milliseconds
 */
export function withProof(sql: string, nowMs: string): string {
  return `select w.in_recovery, w.incarnation, w.now_ms, r.*
    from (select ${PROOF}, ${nowMs} as now_ms) w
    left join (select true as is_row, q.* from (${sql}) q) r on true`;
}

/** The same for a statement with an ORDER BY: the rows keep its order. */
export function withProofInOrder(sql: string, nowMs: string): string {
  return `${withProof(`select row_number() over () as row_order, o.* from (${sql}) o`, nowMs)} order by r.row_order`;
}

/**
 * Refuses the answer of a standby, which may be behind. The error has the SQLSTATE with which a standby refuses to
 * write.
 *
 * @param rows the first has the column `in_recovery`
 * @throws DATABASE_UNAVAILABLE
 */
export function refuseStandby([row]: readonly ProofRow[]): void {
  if (row!.in_recovery) throw unavailable("the database is a standby", "25006");
}
