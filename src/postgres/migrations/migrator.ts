import type { Pools } from "../connections/pools.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { runBeside } from "./concurrent-build.ts";
import { lockedTransaction } from "./migration-lock.ts";
import { MigrationProgress } from "./migration-progress.ts";
import { MIGRATIONS } from "./migrations.ts";
import { type MigrationClass, namesOf, optionalOf, type PlannedMigration, planOf } from "./planned-migration.ts";
import {
  type Ask,
  askOn,
  isThere,
  listOf,
  readApplied,
  type SchemaState,
  schemaState,
  tooNewText,
} from "./schema-state.ts";

/** How often one run builds an index. The statements after the last build fail if it is invalid. */
const MOST_BUILDS = 3;

export interface MigrateOptions {
  /** Default: those of this version. */
  readonly migrations?: readonly MigrationClass[];
  /** Is called with the name of each migration, after its COMMIT. */
  readonly onApplied?: (name: string) => void;
  /**
   * Leaves optional indexes to the process that holds the lock of migrations, because a build may take hours. Default:
   * waits for that process.
   */
  readonly leavesIndexes?: boolean;
}

/** The migrations that the database has and lacks. Writes nothing. */
export async function readSchema(
  pools: Pools,
  ask: Ask,
  migrations: readonly MigrationClass[] = MIGRATIONS,
): Promise<SchemaState> {
  return schemaState(await readApplied(ask, listOf(pools)), namesOf(migrations), optionalOf(migrations));
}

/**
 * The statements that `applyMigrations` would run on the database as it is now, in order. Writes nothing.
 *
 * @throws Error if the schema is too new for this code
 */
export async function planMigrations(
  pools: Pools,
  ask: Ask,
  migrations: readonly MigrationClass[] = MIGRATIONS,
): Promise<readonly PlannedMigration[]> {
  const state = await readSchema(pools, ask, migrations);
  refuseTooNew(state);
  const plans: PlannedMigration[] = [];
  let hasList = await isThere(ask, listOf(pools));
  for (const name of state.pending) {
    plans.push(await planOf(pools, migrations, { name, hasList }, ask));
    hasList = true;
  }
  return plans;
}

/**
 * Applies the migrations that the database lacks, each in a transaction of its own. So a migration holds its locks only
 * for its own statements. A transaction takes the lock of migrations and reads the list again: if several processes
 * migrate at once, each migration is applied once.
 *
 * @param ask runs a statement outside of a transaction: a schema that lacks nothing needs no lock
 * @throws Error if the schema is too new for this code
 */
export async function applyMigrations(pools: Pools, ask: Ask, options: MigrateOptions = {}): Promise<void> {
  const { migrations = MIGRATIONS, onApplied, leavesIndexes = false } = options;
  const state = await readSchema(pools, ask, migrations);
  refuseTooNew(state);
  if (state.pending.length === 0) return;
  const progress = new MigrationProgress(pools.options.log);
  try {
    for (;;) {
      const isNeeded = async () => !leavesIndexes || (await readSchema(pools, ask, migrations)).required.length > 0;
      const apply = (tx: Transaction) => applyNext(pools, tx, migrations, progress);
      const name = await lockedTransaction(pools, ask, apply, isNeeded);
      if (name === undefined) return;
      onApplied?.(name);
    }
  } finally {
    progress.stop();
  }
}

/** Applies the next migration, and returns its name; undefined if the database lacks none. */
async function applyNext(
  pools: Pools,
  tx: Transaction,
  migrations: readonly MigrationClass[],
  progress: MigrationProgress,
): Promise<string | undefined> {
  const ask = askOn(tx);
  const state = await readSchema(pools, ask, migrations);
  refuseTooNew(state);
  const [name] = state.pending;
  if (name === undefined) return undefined;
  progress.at(name);
  const hasList = await isThere(ask, listOf(pools));
  const { target } = pools.options;
  let plan = await planOf(pools, migrations, { name, hasList }, ask);
  // Again, if the build of a process that has ended came first, and left an invalid index.
  for (let builds = 0; builds < MOST_BUILDS && plan.before.length > 0 && target.kind === "postgres"; builds++) {
    await runBeside(tx, target, plan, progress);
    plan = await planOf(pools, migrations, { name, hasList }, ask);
  }
  for (const statement of plan.inTransaction) await ask(statement);
  return name;
}

function refuseTooNew(state: SchemaState): void {
  const text = tooNewText(state);
  if (text !== undefined) throw new Error(text);
}
