import type { LogFields } from "../../lib/log.ts";
import { settleWithin } from "../../lib/settle-within.ts";
import { destroy, PostgresClient } from "../connections/connection.ts";
import type { PostgresTarget } from "../connections/orm-options.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { endWithClient } from "./migration-lock.ts";
import { LOG_EVERY_MS, type MigrationProgress } from "./migration-progress.ts";
import type { PlannedMigration } from "./planned-migration.ts";
import { askOn, literal } from "./schema-state.ts";

const CONNECT_MS = 2000;
/** Timeout of a build. It is long, because a build keeps no call waiting. */
const BUILD_MS = 6 * 3_600_000;

/**
 * Runs the statements of a migration that can't be in a transaction, on a connection of their own. Meanwhile `tx` holds
 * the lock of migrations. It runs a statement every 2 s, so that PostgreSQL does not end it for resting too long.
 *
 * A transaction that rests has no snapshot, so a build does not wait for `tx`. If this process ends, the build goes on
 * until PostgreSQL notices. It then leaves an invalid index, which the next attempt drops, or a valid one.
 *
 * @throws errors of the driver, also if `tx` has lost its connection
 */
export async function runBeside(
  tx: Pick<Transaction, "em">,
  { connection }: PostgresTarget,
  { name, before, index }: PlannedMigration,
  progress: MigrationProgress,
): Promise<void> {
  const client = new PostgresClient(connection, {
    purpose: "migrations",
    connectMs: CONNECT_MS,
    statementTimeoutMs: BUILD_MS,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    if (await client.ownsSession()) await settle(client, connection.settings);
    for (const statement of before) {
      let isOver = false;
      const run = client.alone(statement).finally(() => {
        isOver = true;
      });
      // Awaited below, unless `tx` fails first.
      run.catch(() => {});
      for (;;) {
        await settleWithin(LOG_EVERY_MS, run);
        if (isOver) break;
        progress.at(name, await progressOf(tx, index!.table));
      }
      await run;
    }
  } finally {
    destroy(client);
  }
}

/**
 * Sets what the build needs for the whole session. Behind a pooler nothing is set: the role's own statement_timeout
 * holds, and the statements name their schema.
 */
async function settle(client: PostgresClient, named: PostgresTarget["connection"]["settings"]): Promise<void> {
  for (const [name, value] of [...named, ["statement_timeout", `${BUILD_MS}`], ["lock_timeout", "0"]] as const) {
    await client.alone(`select set_config(${literal(name)}, ${literal(value)}, false)`);
  }
  await client.alone(endWithClient("session"));
}

async function progressOf(tx: Pick<Transaction, "em">, table: string): Promise<LogFields> {
  const [row] = await askOn(tx)(`select phase, blocks_done::float8 as done, blocks_total::float8 as total
    from pg_stat_progress_create_index where datname = current_database() and relid = to_regclass('${table}')`);
  if (row === undefined) return {};
  const { phase, done, total } = row as { phase: string; done: number; total: number };
  return { phase, ...(total > 0 && { percent: Math.floor((100 * done) / total) }) };
}
