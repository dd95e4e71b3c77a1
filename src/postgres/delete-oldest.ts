/** The part of a Database that deletes need. */
interface Writer {
  /** SQL for the database's time. */
  readonly now: string;
  write(sql: string, parameters: readonly unknown[]): Promise<number>;
}

/**
 * Maximum rows that one statement deletes. A statement has one second; on a busy machine 5,000 sessions took 0.8 s of
 * it. A statement that is too long would fail again at each attempt.
 */
export const MAX_DELETED = 2000;

/** The advisory lock of a statement that deletes old rows. The number is arbitrary. */
const PRUNING_LOCK = "7809632594316157052";

/** SQL: whether no other process deletes old rows now. If so, none does until the statement's transaction ends. */
export const MAY_PRUNE = `(select pg_try_advisory_xact_lock(${PRUNING_LOCK}))`;

/** Tables whose rows end by a time, each with that time's column, which has an index. */
const ENDS = {
  audit_events: "happened_at",
  sessions: "expires_at",
  key_requests: "created_at",
  login_addresses: "forget_at",
  login_networks: "forget_at",
} as const;

/**
 * Deletes rows of a table whose time is more than `keptMs` ago, the oldest first. Of all processes, one at a time
 * deletes: it deletes nothing while another one does.
 *
 * @returns whether more are left for this process
 */
export async function deleteOldest(database: Writer, table: keyof typeof ENDS, keptMs: number): Promise<boolean> {
  const column = ENDS[table];
  const oldest = `select ctid from ${table}
    where ${MAY_PRUNE} and ${column} < ${database.now} - ?::float8 * interval '1 millisecond'
    order by ${column} limit ${MAX_DELETED} for update skip locked`;
  const deleted = await database.write(`delete from ${table} where ${inPlaces(oldest)}`, [keptMs]);
  return deleted === MAX_DELETED;
}

/**
 * SQL: the condition that a row is in one of these places. With an array PostgreSQL goes to each place. With
 * `in (select ...)` it may read the whole table instead, to compare each row with the few places.
 *
 * @param places SQL that selects the column `ctid` and locks the rows, because an update moves a row
 */
export function inPlaces(places: string): string {
  return `ctid = any (array(${places}))`;
}
