import type { MikroORM } from "@mikro-orm/core";
import type { MigrationStorage } from "@mikro-orm/migrations";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Log } from "../../lib/log.ts";

const LOG_EVERY_MS = 5000;

/**
 * Applies all migrations that the database lacks.
 *
 * @param em entity manager of the transaction that holds the lock of migrations; undefined = the migrator begins its
 *   own transaction
 */
export async function applyMigrations(orm: MikroORM, em: SqlEntityManager | undefined): Promise<void> {
  const transaction = em?.getTransactionContext();
  if (transaction === undefined) {
    await orm.migrator.up();
    return;
  }
  // The migrator would create the table of applied migrations outside of the given transaction. Behind a pooler with a
  // single connection it would then wait for itself.
  (orm.migrator.getStorage() as MigrationStorage).setMasterMigration(transaction);
  await orm.migrator.up({ transaction });
}

/**
 * Logs a line every 5 s while migrations run, because a migration of a large table may take minutes. @returns stops it
 */
export function logProgress(log: Log | undefined): () => void {
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += LOG_EVERY_MS / 1000;
    log?.info("the schema is being applied", { for_seconds: seconds });
  }, LOG_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
