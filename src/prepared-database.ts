import type { Config } from "./config.ts";
import type { KeyRing } from "./lib/key-ring.ts";
import type { Database, DatabaseTarget } from "./postgres/database.ts";
import { checkMasterKeys } from "./postgres/master-key-checks.ts";
import { type OpenDatabaseOptions, openDatabase } from "./postgres/open-database.ts";
import { tiersInUse } from "./postgres/tiers-in-use.ts";

export interface PreparedDatabaseOptions extends Omit<OpenDatabaseOptions, "target"> {
  readonly config: Config;
  readonly ring: KeyRing;
}

/**
 * Opens the database that the configuration names, applies the schema, and refuses to go on with a configuration that
 * does not fit what is stored.
 *
 * @throws Error that says what does not fit; DATABASE_UNAVAILABLE
 */
export async function openPreparedDatabase(options: PreparedDatabaseOptions): Promise<Database> {
  const database = await openDatabase({ ...options, target: databaseTarget(options.config) });
  try {
    if (options.config.migrate) await database.migrate();
    await checkMasterKeys(database, options.ring);
    await checkTiers(database, options);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

function databaseTarget(config: Config): DatabaseTarget {
  return config.databaseUrl === undefined
    ? { kind: "embedded", folder: config.dataDir }
    : { kind: "postgres", url: config.databaseUrl, poolSize: config.databasePoolSize };
}

/** A tier that the configuration lacks would silently be judged as the lowest. */
async function checkTiers(database: Database, { config, log }: PreparedDatabaseOptions): Promise<void> {
  const known = new Set(config.tiers.map((tier) => tier.name));
  const missing = (await tiersInUse(database)).filter((tier) => !known.has(tier));
  if (missing.length === 0) return;
  const message = `LATCHKEY_TIERS: lacks ${missing.join(", ")}, which users or keys have`;
  if (config.production) throw new Error(message);
  log.warn(`${message}; they are judged as ${config.tiers[0].name}`);
}
