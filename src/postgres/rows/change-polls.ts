/** The poll of the log of changes: its statement and its answer. */
import type { ChangeKind, CommittedChange } from "../../changes/change.ts";
import { MAX_CHANGES_PER_POLL, type Poll } from "../../changes/change-store.ts";
import { positionOf } from "../../changes/snapshot.ts";
import { type ManagedDatabase, ms, type Row } from "../database.ts";
import { type FollowedHistory, unnamedHistory } from "../history/followed-history.ts";
import { beginIncarnation, incarnationOf } from "../history/incarnation.ts";
import { refuseStandby } from "../history/standby-check.ts";

/** The connection that polls of the feed use: their own, or the only one of the embedded database. */
export interface PollConnection {
  /** SQL for the database's time. */
  readonly now: string;
  /** How the driver marks the one parameter. */
  readonly parameter: "?" | "$1";
  read(sql: string, parameters: readonly unknown[]): Promise<readonly Row[]>;
  /** @returns the number of rows that it wrote */
  write(sql: string): Promise<number>;
}

/**
 * A poll of the feed, which decides which history this process follows. If the database has lost its incarnation, the
 * poll begins another one, and runs again.
 *
 * @throws DATABASE_UNAVAILABLE for a standby; errors of the connection
 */
export async function pollAsFeed(
  connection: PollConnection,
  history: FollowedHistory,
  since: string | undefined,
): Promise<Poll> {
  let row = await pollOnce(connection, since);
  if (row.incarnation === null) {
    await beginIncarnation((sql) => connection.write(sql));
    row = await pollOnce(connection, since);
  }
  if (row.incarnation === null) throw unnamedHistory();
  history.follow(row.incarnation as string);
  return toPoll(row);
}

/**
 * A poll for a client. It must come from the history that the feed follows, because the client then gets the feed's
 * changes.
 *
 * @throws DATABASE_UNAVAILABLE for a standby, another history, or one that has no incarnation yet
 */
export async function pollForClient(database: ManagedDatabase, since: string | undefined): Promise<Poll> {
  const row = await pollOnce(connectionOf(database), since);
  database.history.prove([row]);
  if (row.incarnation === null) throw unnamedHistory();
  return toPoll(row);
}

/** A poll of the feed on the embedded database, which has one connection for everything. */
export function pollEmbedded(database: ManagedDatabase, since: string | undefined): Promise<Poll> {
  const write = (sql: string) => database.write(sql, []);
  return pollAsFeed({ ...connectionOf(database), write }, database.history, since);
}

function connectionOf(database: ManagedDatabase): Omit<PollConnection, "write"> {
  return { now: database.now, parameter: "?", read: (sql, parameters) => database.unproven(sql, parameters) };
}

async function pollOnce(
  { now, parameter, read }: Omit<PollConnection, "write">,
  since: string | undefined,
): Promise<Row> {
  const rows = await read(pollSql(now, parameter), [since ?? null]);
  refuseStandby(rows);
  return rows[0]!;
}

/**
 * SQL: a poll. It is one statement, so that snapshot, incarnation and rows are from the same moment. An incarnation
 * that was read before a crash would not fit a snapshot from after it. Parameter: the snapshot of the poll before, or
 * null.
 *
 * A snapshot contains neither the transactions that began after it nor those that were under way. The statement asks
 * for the rows of each group separately; together this means `not pg_visible_in_snapshot()`. So the index finds the
 * rows, however old the oldest open transaction is. A transaction that is still under way has lost no rows to pruning.
 * A transaction that has ended since may have lost some, if rows of transactions as new as it were deleted.
 *
 * @param parameter how the driver marks the parameter
 */
function pollSql(now: string, parameter: "?" | "$1"): string {
  const most = MAX_CHANGES_PER_POLL + 1;
  return `select s.now::text as snapshot, pg_snapshot_xmin(s.now)::text as xmin, pg_snapshot_xmax(s.now)::text as xmax,
      ${ms(now)} as now_ms, pg_is_in_recovery() as in_recovery,
      (select system_identifier::text from pg_control_system()) as system_id,
      ${incarnationOf("s.now")} as incarnation,
      case when pg_is_in_recovery() then 0
           else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end as timeline,
      coalesce((
        select pruned >= pg_snapshot_xmax(s.since) or exists (
          select from pg_snapshot_xip(s.since) x where x <= pruned and pg_visible_in_snapshot(x, s.now)
        ) from change_horizon
      ), false) as has_gap,
      coalesce((
        select json_agg(json_build_array(c.kind, c.subject_id, ${ms("c.changed_at")})) from (
          (select * from changes where xact_id >= pg_snapshot_xmax(s.since) order by xact_id limit ${most})
          union all
          (select * from changes where xact_id = any (array(select pg_snapshot_xip(s.since))) limit ${most})
        ) c
      ), '[]') as changes
    from (select pg_current_snapshot() as now, ${parameter}::pg_snapshot as since) s`;
}

function toPoll(row: Row): Poll {
  const changes = row.changes as ChangeColumns[];
  const hasGap = (row.has_gap as boolean) || changes.length > MAX_CHANGES_PER_POLL;
  return {
    epoch: {
      systemId: row.system_id as string,
      timeline: row.timeline as number,
      incarnation: row.incarnation as string,
    },
    snapshot: row.snapshot as string,
    xmin: BigInt(row.xmin as string),
    xmax: BigInt(row.xmax as string),
    databaseMs: row.now_ms as number,
    isInRecovery: row.in_recovery as boolean,
    hasGap,
    changes: hasGap ? [] : toChanges(changes, positionOf(row.snapshot as string)),
  };
}

type ChangeColumns = readonly [kind: ChangeKind, subjectId: string, changedAtMs: number];

function toChanges(rows: readonly ChangeColumns[], position: bigint): CommittedChange[] {
  return rows.map(([kind, subjectId, changedAtMs]) => ({ kind, subjectId, changedAtMs, position }));
}
