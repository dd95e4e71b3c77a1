import { join, resolve } from "node:path";
import { DatabaseClock } from "../changes/database-clock.ts";
import type { Config } from "../config/config.ts";
import { type BootstrapOperatorDeps, bootstrapOperator } from "../keys/credentials/bootstrap-operator.ts";
import { systemClock } from "../lib/clock.ts";
import { placeOf } from "../lib/database-connection.ts";
import { createCommandLog, createLog, type Log } from "../lib/log.ts";
import { makePrivateFolder, replacePrivateFile } from "../lib/private-files.ts";
import type { Database } from "../postgres/database.ts";
import { PostgresKeyStore } from "../postgres/stores/key-store.ts";
import { DATA_FILES, openDataFolder } from "./data-folder.ts";
import { loadMasterKeys, readMasterKeys } from "./master-keys.ts";
import { openPreparedDatabase } from "./prepared-database.ts";

/** The database of a configuration, in words for a person. */
export function databaseName({ database, dataDir }: Pick<Config, "database" | "dataDir">): string {
  return database === undefined ? `the embedded database in ${resolve(dataDir)}` : `PostgreSQL at ${placeOf(database)}`;
}

export interface WriteFirstOperatorDeps extends Omit<BootstrapOperatorDeps, "store"> {
  readonly config: Pick<Config, "production" | "dataDir">;
  readonly database: Pick<Database, "exclusively">;
  readonly log: Log;
}

const DATABASE_WAIT_MS = 60_000;

/** The path of the first operator's credential in the data folder of a development service. */
export function adminCredentialFile(dataDir: string): string {
  return join(dataDir, DATA_FILES.adminCredential);
}

/**
 * Makes the first operator at a development start that finds none, and writes the credential into a file that only this
 * user can read. In production, operators run `npm run bootstrap` instead.
 */
export async function writeFirstOperator(deps: WriteFirstOperatorDeps): Promise<void> {
  if (deps.config.production) return;
  const made = await deps.database.exclusively((alone) =>
    bootstrapOperator({ ...deps, store: new PostgresKeyStore(alone) }, { force: false }),
  );
  if (made === undefined) return;
  const path = adminCredentialFile(deps.config.dataDir);
  try {
    makePrivateFolder(deps.config.dataDir);
    // An existing file of that name holds the credential of an operator that no longer exists.
    replacePrivateFile(path, `${made.secret}\n`);
  } catch (error) {
    const reason = (error as Error).message;
    throw new Error(
      `the first operator was made, and its credential could not be written (${reason}); make ${deps.config.dataDir} writable and run: npm run --silent bootstrap -- --force`,
    );
  }
  deps.log.warn("made an admin credential, for development only", { file: path, credential: made.credentialId });
}

/**
 * Makes the first operator without a service, under the lock of migrations, and returns the credential. On PostgreSQL
 * it makes no master key: the database would then belong to that key, and would refuse the service's own one.
 *
 * @param force makes an operator even if a usable admin credential exists
 * @returns undefined if a usable admin credential exists and `force` is false
 */
export async function bootstrap(config: Config, force: boolean): Promise<string | undefined> {
  openDataFolder(config, createLog("silent"));
  const ring = config.database === undefined ? loadMasterKeys(config) : readMasterKeys(config);
  const database = await openPreparedDatabase({
    config,
    ring,
    clock: systemClock,
    log: createCommandLog(),
    waitMs: DATABASE_WAIT_MS,
  });
  try {
    const deps = {
      ring,
      format: { prefix: config.keyPrefix, environments: config.environments },
      databaseClock: new DatabaseClock(systemClock),
    };
    const made = await database.exclusively((alone) =>
      bootstrapOperator({ ...deps, store: new PostgresKeyStore(alone) }, { force }),
    );
    return made?.secret;
  } finally {
    await database.close();
  }
}
