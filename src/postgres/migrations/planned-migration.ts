import type { Migration } from "@mikro-orm/migrations";
import type { Pools } from "../connections/pools.ts";
import {
  ConcurrentIndex,
  type ConcurrentIndexDefinition,
  createConcurrently,
  dropConcurrently,
  requireValid,
} from "./built-concurrently.ts";
import { type Ask, createList, listOf, noteApplied, quoted } from "./schema-state.ts";

export type MigrationClass = new (driver: never, config: never) => Migration;

/** The statements that apply one migration to a database as it is now. */
export interface PlannedMigration {
  readonly name: string;
  /**
   * Statements outside of a transaction, which are run first. They may be run again after an interruption. Mostly none.
   */
  readonly before: readonly string[];
  /** Statements of the one transaction that also notes the migration in the list. */
  readonly inTransaction: readonly string[];
  /** The index that `before` builds. */
  readonly index: ConcurrentIndexDefinition | undefined;
}

/** Size up to which an index is built in the transaction: writers wait for some tens of milliseconds. */
const SMALL_TABLE_BYTES = 8 * 1024 * 1024;

export function namesOf(migrations: readonly MigrationClass[]): readonly string[] {
  return migrations.map((each) => instanceOf(each).name!);
}

/** Those that only make reads faster: code works without their index. A unique index also keeps a rule. */
export function optionalOf(migrations: readonly MigrationClass[]): readonly string[] {
  const isOptional = (each: Migration) => each instanceof ConcurrentIndex && each.index.isUnique !== true;
  return migrations.map(instanceOf).flatMap((each) => (isOptional(each) ? [each.name!] : []));
}

/**
 * The statements of the migration of this name. Reads catalogs alone.
 *
 * @param hasList whether the list of applied migrations is there by then
 */
export async function planOf(
  pools: Pools,
  migrations: readonly MigrationClass[],
  { name, hasList }: { readonly name: string; readonly hasList: boolean },
  ask: Ask,
): Promise<PlannedMigration> {
  const migration = migrations.map(instanceOf).find((each) => each.name === name)!;
  const list = listOf(pools);
  const inList = (statements: readonly string[]) => [
    ...(hasList ? [] : [createList(list)]),
    ...statements,
    noteApplied(list, name),
  ];
  if (migration instanceof ConcurrentIndex) {
    const build = await buildOf(pools, migration.index, ask);
    if (build !== undefined) {
      const { before, check } = build;
      return { name, before, inTransaction: [check, ...inList([])], index: migration.index };
    }
  }
  await migration.up();
  const statements = migration.getQueries().map((each) => `${each}`);
  return { name, before: [], inTransaction: inList(statements), index: undefined };
}

interface Build {
  /** None if the index is there and valid. */
  readonly before: readonly string[];
  /** Fails unless the index is valid. */
  readonly check: string;
}

/** The statements that build an index beside writers; undefined if the index is built in the transaction. */
async function buildOf(
  { options: { target } }: Pools,
  index: ConcurrentIndexDefinition,
  ask: Ask,
): Promise<Build | undefined> {
  if (target.kind === "embedded") return undefined;
  const [found] = await ask(`select current_schema() as schema,
    pg_relation_size(to_regclass('${index.table}')) as bytes,
    (select indisvalid from pg_index where indexrelid = to_regclass('${index.name}')) as is_valid`);
  const { schema, bytes, is_valid: isValid } = found!;
  const home = quoted(schema as string);
  const check = requireValid(index, home);
  if (isValid === true) return { before: [], check };
  // A small table has no index of an interrupted build: such a build is not begun there.
  if (isValid === null && Number(bytes ?? 0) <= SMALL_TABLE_BYTES) return undefined;
  const drop = isValid === false ? [dropConcurrently(index, home)] : [];
  return { before: [...drop, createConcurrently(index, home)], check };
}

/** MikroORM's class collects the statements of a migration. The service runs them itself, so it needs no driver. */
function instanceOf(migration: MigrationClass): Migration {
  return new migration(undefined as never, undefined as never);
}
