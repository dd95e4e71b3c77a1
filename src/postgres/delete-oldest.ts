/** The part of a Database that deletes need. */
interface Writer {
  /** SQL for the database's time. */
  readonly now: string;
  write(sql: string, parameters: readonly unknown[]): Promise<number>;
}

/** Maximum rows that one statement deletes, so that no statement is long. */
export const MAX_DELETED = 5000;

/**
 * Deletes rows of a table whose time is more than `keptMs` ago, the oldest first. It skips rows that another process is
 * deleting.
 *
 * @param column an indexed time
 * @returns whether more are left
 */
export async function deleteOldest(
  database: Writer,
  table: "audit_events" | "sessions",
  column: string,
  keptMs: number,
): Promise<boolean> {
  const deleted = await database.write(
    `delete from ${table} where id in (
       select id from ${table} where ${column} < ${database.now} - ?::float8 * interval '1 millisecond'
       order by ${column} limit ${MAX_DELETED} for update skip locked
     )`,
    [keptMs],
  );
  return deleted === MAX_DELETED;
}
