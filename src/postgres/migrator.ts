import type { MikroORM } from "@mikro-orm/core";
import type { MigrationStorage } from "@mikro-orm/migrations";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Log } from "../lib/log.ts";

const TELL_EVERY_MS = 5000;

/**
 * Applies all migrations that the database lacks.
 *
 * @param em of the transaction that holds the lock of migrations; undefined for one of its own
 */
export async function applyMigrations(orm: MikroORM, em: SqlEntityManager | undefined): Promise<void> {
  const transaction = em?.getTransactionContext();
  if (transaction === undefined) {
    await orm.migrator.up();
    return;
  }
  // The migrator makes the table of applied migrations before it looks at the transaction that it is given: behind a
  // pooler with a single connection it would wait for itself.
  (orm.migrator.getStorage() as MigrationStorage).setMasterMigration(transaction);
  await orm.migrator.up({ transaction });
}

/** A migration of a large table may take minutes: until it is over a line each 5 s says so. @returns ends it */
export function tellWhileItLasts(log: Log | undefined): () => void {
  let seconds = 0;
  const timer = setInterval(() => {
    seconds += TELL_EVERY_MS / 1000;
    log?.info("the schema is being applied", { for_seconds: seconds });
  }, TELL_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
