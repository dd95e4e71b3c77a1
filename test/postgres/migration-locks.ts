/**
 * An observer of what a migration does to the tables that were there before it, counted by PostgreSQL itself. No time
 * is measured, so the speed of the machine does not matter: what grows with a table is too long at some size.
 */
import type pg from "pg";

/** Rows of each filled table, and the number of rows at which a statement counts as one that grows with the table. */
export const ROWS = 2000;
const MANY = ROWS / 2;

/** Modes that keep writers out; some keep readers out too. */
const KEEPS_OUT = ["ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"];

const TABLES = `select c.oid::int as id, c.relname as name, pg_relation_filenode(c.oid) as file,
    pg_relation_size(c.oid) = 0 as is_empty,
    pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid) as read,
    pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid) as changed,
    coalesce((select string_agg(l.mode, ',') from pg_locks l
      where l.pid = pg_backend_pid() and l.relation = c.oid and l.mode = any ($1)), '') as locks
  from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace`;

interface Table {
  readonly id: number;
  readonly name: string;
  readonly file: number;
  readonly is_empty: boolean;
  readonly read: number;
  readonly changed: number;
  readonly locks: string;
}

/**
 * Runs statements in one transaction. It reports each statement that reads many rows, or writes a table again, while
 * the transaction keeps writers out of a table. It also reports a statement that changes many rows, because they stay
 * locked until the end, and a lock on a table that the test has no rows for.
 *
 * @param end "rollback" leaves the database as it was
 */
export async function lockFindings(
  client: pg.Client,
  statements: readonly string[],
  end: "commit" | "rollback",
): Promise<string[]> {
  const findings: string[] = [];
  await client.query("begin");
  // Workers of a parallel scan count for themselves.
  await client.query("set local max_parallel_workers_per_gather = 0; set local max_parallel_maintenance_workers = 0");
  const atFirst = await look(client);
  let before = atFirst;
  for (const statement of statements) {
    await client.query(statement);
    const after = await look(client);
    const known = [...atFirst.keys()].flatMap((id) =>
      after.has(id) ? [[before.get(id)!, after.get(id)!] as const] : [],
    );
    const kept = known.filter(([, now]) => now.locks !== "").map(([, now]) => `${now.name} (${now.locks})`);
    const worked = known.filter(([then, now]) => now.read - then.read >= MANY || now.file !== then.file);
    const text = statement.replace(/\s+/g, " ").slice(0, 60);
    if (kept.length > 0 && worked.length > 0) {
      const what = worked.map(([then, { name, file }]) => `${file === then.file ? "reads" : "rewrites"} ${name}`);
      findings.push(`${text}: ${what.join(", ")} while it keeps writers out of ${kept.join(", ")}`);
    }
    for (const [, { name, is_empty, locks }] of known) {
      if (is_empty && locks !== "") findings.push(`${text}: locks ${name}, which has no rows here: add it to FILL`);
    }
    for (const [then, now] of known) {
      if (now.changed - then.changed >= MANY)
        findings.push(`${text}: locks ${now.changed - then.changed} rows of ${now.name}`);
    }
    before = after;
  }
  await client.query(end);
  return findings;
}

async function look(client: pg.Client): Promise<ReadonlyMap<number, Table>> {
  const { rows } = await client.query(TABLES, [KEEPS_OUT]);
  return new Map(
    rows.map((row) => [row.id, { ...row, read: Number(row.read), changed: Number(row.changed) } as Table] as const),
  );
}
