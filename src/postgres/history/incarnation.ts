/**
 * The incarnation: a random id of the history that transaction ids belong to.
 *
 * Snapshots name transactions by their ids, and positions count them. Two of them compare only within one history,
 * because crash recovery, a failover or a restore may assign the same ids again. `change_incarnation` keeps its random
 * id for as long as every id is assigned once.
 */
import { inPlaces, MAX_DELETED } from "../delete-oldest.ts";

/** Runs one statement. @returns the number of rows that it wrote */
export type Write = (sql: string) => Promise<number>;

const IS_OF_THIS_HISTORY = "path = pg_relation_filepath(tableoid) and server_start = pg_postmaster_start_time()";

/**
 * SQL: the random id, or null. A row that came with a dump, a template or copied files names another file of the table
 * or another start of the server, and is ignored. A standby refuses every statement that names the table (SQLSTATE
 * 0A000).
 */
export const INCARNATION = `(select id from change_incarnation where ${IS_OF_THIS_HISTORY} limit 1)`;

/**
 * SQL: the random id, or null. It is also null if the log of changes has ids that this history has not assigned yet.
 * Such rows come from a restored dump: each poll would return them again, and each client would seem to have missed
 * them.
 *
 * @param now SQL for the statement's own snapshot
 */
export function incarnationOf(now: string): string {
  return `case when ${HAS_FOREIGN_ROWS.replaceAll("$now", now)} then null else ${INCARNATION} end`;
}

const FOREIGN = "xact_id >= pg_snapshot_xmax($now)";
const HAS_FOREIGN_ROWS = `((select xact_id from changes where ${FOREIGN} order by xact_id limit 1) is not null
  or exists (select from change_horizon where pruned >= pg_snapshot_xmax($now)))`;

const OWN_SNAPSHOT = "pg_current_snapshot()";
const FOREIGN_ROWS = `select ctid from changes where ${FOREIGN.replace("$now", OWN_SNAPSHOT)}
  order by xact_id limit ${MAX_DELETED} for update skip locked`;
const DELETE_FOREIGN_ROWS = `delete from changes where ${inPlaces(FOREIGN_ROWS)}`;

/**
 * Writes the row of a new incarnation. Each part of this statement sees what was committed when the part began. The
 * lock lets one process at a time write the row; the next process finds a row of this history and keeps it.
 *
 * A horizon of another history hides which changes were deleted in this one, so it also ends the incarnation.
 */
const BEGIN = `do $$
begin
  perform from change_horizon for update;
  delete from changes where ${FOREIGN.replace("$now", OWN_SNAPSHOT)};
  update change_horizon set pruned = '0' where pruned >= pg_snapshot_xmax(${OWN_SNAPSHOT});
  if found or not exists (select from change_incarnation where ${IS_OF_THIS_HISTORY}) then
    delete from change_incarnation;
    insert into change_incarnation (id, path, server_start)
      values (gen_random_uuid(), pg_relation_filepath('change_incarnation'), pg_postmaster_start_time());
  end if;
end $$`;

/**
 * Begins an incarnation: deletes the rows of another history from the log of changes, and writes a random id if none is
 * valid. Several processes may do this at once. Only a later poll may read the id, because earlier reads belong to no
 * incarnation.
 */
export async function beginIncarnation(write: Write): Promise<void> {
  while ((await write(DELETE_FOREIGN_ROWS)) === MAX_DELETED);
  await write(BEGIN);
}
