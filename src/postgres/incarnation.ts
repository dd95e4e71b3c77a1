/**
 * Which history the database's transaction ids belong to.
 *
 * Snapshots and positions name transactions by their ids. Two of them compare only within one history: crash recovery,
 * a failover or a restore may give ids again. `change_incarnation` holds a random id for as long as ids are given once.
 */
import { PORTION } from "./portions.ts";

/** Runs one statement. */
export type RunStatement = (sql: string) => Promise<readonly Readonly<Record<string, unknown>>[]>;

const IS_OF_THIS_HISTORY = "path = pg_relation_filepath(tableoid) and server_start = pg_postmaster_start_time()";

/**
 * SQL: the random id, or null. A row from a dump, a template or copied files names another file of the table or another
 * start of the server, and is not read. A standby refuses any statement that names the table (SQLSTATE 0A000).
 */
export const INCARNATION = `(select id from change_incarnation where ${IS_OF_THIS_HISTORY} limit 1)`;

/**
 * SQL: the random id, or null also where the log of changes has ids that this history has not given yet. A restored dump
 * brings such rows: each poll would return them, and each client would have missed them.
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
const DELETE_FOREIGN_ROWS = `with gone as (
  delete from changes where id in (
    select id from changes where ${FOREIGN.replace("$now", OWN_SNAPSHOT)} order by xact_id limit ${PORTION}
    for update skip locked
  ) returning id
) select count(*)::int as deleted from gone`;

/**
 * One statement, of which each part sees what was committed when the part began. The lock lets one process at a time
 * write the row; those behind it find a row of this history and leave it.
 *
 * A horizon of another history hides which changes were deleted in this one, so it ends the incarnation too.
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
 * Deletes what another history left in the log of changes, and writes a random id where none is valid. Several processes
 * may do so at once. Only the next poll may read the id: whatever was read before belongs to no incarnation.
 */
export async function beginIncarnation(run: RunStatement): Promise<void> {
  for (;;) {
    const [row] = await run(DELETE_FOREIGN_ROWS);
    if (row!.deleted !== PORTION) break;
  }
  await run(BEGIN);
}
