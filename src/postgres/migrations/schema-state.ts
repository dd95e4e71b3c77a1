import assert from "node:assert/strict";
import type { Pools } from "../connections/pools.ts";
import { FORMER_SCHEMA, LIST } from "../connections/server-facts.ts";
import { ms, msOf, type Row } from "../row.ts";
import type { Transaction } from "../transactions/transaction.ts";

/** A migration that a database has. */
export interface AppliedMigration {
  readonly name: string;
  readonly appliedAtMs: number;
}

/** The schema that a database has, compared with the one that this code needs. */
export interface SchemaState {
  /** In the order in which they were applied. */
  readonly applied: readonly AppliedMigration[];
  /** Migrations that this code needs and the database lacks, in the order in which it would be applied. */
  readonly pending: readonly string[];
  /** Those of them that this code can't run without. The others add indexes, for speed alone. */
  readonly required: readonly string[];
  /** Migrations that a later version has applied. */
  readonly later: readonly string[];
  /** The first later migration that this code can't run beside. */
  readonly tooNew: string | undefined;
  /** The newest migration that this code needs. */
  readonly needed: string;
}

/** A function that runs one statement: `Database.unproven`, or the entity manager of a transaction. */
export type Ask = (sql: string) => Promise<Row[]>;

export const askOn =
  ({ em }: Pick<Transaction, "em">): Ask =>
  (sql) =>
    em.execute<Row[]>(sql);

/**
 * The end of the name of a contraction, such as `0020-drop-note-needs-0017`: code that does not know 0017 can't run
 * beside it. The list of applied migrations is all that an older version reads of a newer one. So a name says it.
 */
const NEEDS = /-needs-(\d{4})$/;

/**
 * Compares the list of a database with the names of this code's migrations.
 *
 * @param optional those without which this code runs, if slowly
 */
export function schemaState(
  applied: readonly AppliedMigration[],
  names: readonly string[],
  optional: readonly string[] = [],
): SchemaState {
  const had = new Set(applied.map(({ name }) => name));
  const later = applied.map(({ name }) => name).filter((name) => !names.includes(name));
  const needed = names.at(-1)!;
  // By the name, because a number below the newest may be missing: numbers are given before their order of release.
  const isTooNew = (name: string) => {
    const needs = NEEDS.exec(name)?.[1];
    return needs !== undefined && !names.some((own) => own.startsWith(`${needs}-`));
  };
  const pending = names.filter((name) => !had.has(name));
  return {
    applied,
    pending,
    required: pending.filter((name) => !optional.includes(name)),
    later,
    tooNew: later.find(isTooNew),
    needed,
  };
}

/** Why this code can't use a database with later migrations; undefined if it can. */
export function tooNewText({ tooNew, needed }: SchemaState): string | undefined {
  if (tooNew === undefined) return undefined;
  return `the database has the migration ${tooNew}, beside which this version can't run (it ends with ${needed}); start a newer version`;
}

/** The list of applied migrations, as SQL names it. The name and the columns are those of MikroORM's migrator. */
export function listOf({ options: { target } }: Pick<Pools, "options">): string {
  const schema = target.kind === "embedded" ? FORMER_SCHEMA : (target.migrationsSchema ?? FORMER_SCHEMA);
  return `${quoted(schema)}.${LIST}`;
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Reads the list. An absent list is an empty one. Writes nothing, and needs SELECT on the list alone. */
export async function readApplied(ask: Ask, list: string): Promise<readonly AppliedMigration[]> {
  if (!(await isThere(ask, list))) return [];
  const rows = await ask(`select name, ${ms("executed_at")} as applied_at_ms from ${list} order by id`);
  return rows.map(({ name, applied_at_ms }) => ({ name: name as string, appliedAtMs: msOf(applied_at_ms)! }));
}

/** Whether a relation is there that everyone with its schema sees. */
export async function isThere(ask: Ask, relation: string): Promise<boolean> {
  const [row] = await ask(`select to_regclass(${literal(relation)}) is not null as is_there`);
  return row!.is_there as boolean;
}

/** SQL: makes the list. */
export function createList(list: string): string {
  return `create table if not exists ${list} (
  id serial primary key,
  name varchar(255) not null,
  executed_at timestamptz(6) not null default current_timestamp(6)
)`;
}

/** SQL: adds a migration to the list. */
export function noteApplied(list: string, name: string): string {
  assert.match(name, /^\d{4}-[a-z0-9-]+$/);
  return `insert into ${list} (name) values ('${name}')`;
}
