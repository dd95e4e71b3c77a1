/** What deletes: a Database, of which this room's other files know more. */
interface Writer {
  /** SQL for the database's time. */
  readonly now: string;
  write(sql: string, parameters: readonly unknown[]): Promise<number>;
}

/** Rows deleted by one statement, so that none is long. */
export const PORTION = 5000;

/**
 * Deletes the oldest of those rows of a table whose time has passed by more than `keptMs`; not those that another process
 * is deleting.
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
       order by ${column} limit ${PORTION} for update skip locked
     )`,
    [keptMs],
  );
  return deleted === PORTION;
}
