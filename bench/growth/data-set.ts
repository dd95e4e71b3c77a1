/** Makes the data set: tables without indexes, rows by set-based SQL, then each index, as a restored dump is made. */
import type pg from "pg";
import { inThousands, startProgress } from "./progress.ts";
import { type DataSetSize, FUNCTIONS, type TableRows, tableRows } from "./table-rows.ts";

/** Rows of one statement. A statement takes about a second, so progress is shown often enough. */
const ROWS_PER_STATEMENT = 100_000;

/** The time that a step of the load took. */
export interface LoadStep {
  readonly what: string;
  readonly seconds: number;
}

/**
 * Fills an empty schema.
 *
 * @returns the seconds for the rows of each table, and for each index and constraint
 */
export async function loadDataSet(
  client: pg.Client,
  size: DataSetSize,
  print: (line: string) => void,
): Promise<readonly LoadStep[]> {
  // A crash loses the load, and then it begins again: no commit needs to be on disk.
  await client.query("set synchronous_commit = off; set maintenance_work_mem = '512MB'; set jit = off");
  await client.query(FUNCTIONS);
  const tables = tableRows(size);
  const built = await dropIndexes(client, tables);
  const steps: LoadStep[] = [];
  for (const rows of tables) steps.push({ what: `rows of ${rows.table}`, seconds: await fill(client, rows, print) });
  for (const { what, sql } of built) {
    const startMs = performance.now();
    await client.query(sql);
    const seconds = (performance.now() - startMs) / 1000;
    print(`${what}: ${seconds.toFixed(1)} s`);
    steps.push({ what, seconds });
  }
  for (const { table } of tables) await client.query(`vacuum (analyze) ${table}`);
  return steps;
}

async function fill(client: pg.Client, { table, rows, sql }: TableRows, print: (line: string) => void) {
  const progress = startProgress(print, table, rows);
  for (let from = 0; from < rows; from += ROWS_PER_STATEMENT) {
    const to = Math.min(from + ROWS_PER_STATEMENT, rows) - 1;
    await client.query(sql, [from, to]);
    progress.add(to - from + 1);
  }
  return progress.end();
}

interface Rebuilt {
  readonly what: string;
  readonly sql: string;
}

/** Drops all keys and indexes of the tables. @returns how each is made again, in an order that works */
async function dropIndexes(client: pg.Client, tables: readonly TableRows[]): Promise<readonly Rebuilt[]> {
  const names = tables.map(({ table }) => table);
  const constraints = await client.query(
    `select conname as name, conrelid::regclass::text as table, contype as type, pg_get_constraintdef(oid) as definition
     from pg_constraint where conrelid = any($1::regclass[]) and contype in ('p', 'u', 'f')
     order by array_position(array['p', 'u', 'f'], contype::text), conrelid, conname`,
    [names],
  );
  const indexes = await client.query(
    `select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition from pg_index i
     where i.indrelid = any($1::regclass[]) and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
     order by i.indrelid, name`,
    [names],
  );
  for (const { name, table } of constraints.rows.toReversed()) {
    await client.query(`alter table ${table} drop constraint ${name}`);
  }
  for (const { name } of indexes.rows) await client.query(`drop index ${name}`);
  const made = constraints.rows.map(({ name, table, type, definition }) => ({
    type,
    what: `${type === "f" ? "foreign key" : "index"} ${name}`,
    sql: `alter table ${table} add constraint ${name} ${definition}`,
  }));
  return [
    ...made.filter(({ type }) => type !== "f"),
    ...indexes.rows.map(({ name, definition }) => ({ what: `index ${name}`, sql: definition as string })),
    ...made.filter(({ type }) => type === "f"),
  ];
}

/** A size in words. */
export function sizeText({ keys, users, auditEvents }: DataSetSize): string {
  return `${inThousands(keys)} keys, ${inThousands(users)} users, ${inThousands(auditEvents)} audit events`;
}
