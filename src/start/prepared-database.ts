import type { Config } from "../config/config.ts";
import { DomainError } from "../lib/errors.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { Database, type DatabaseOptions, type DatabaseTarget, type ManagedDatabase } from "../postgres/database.ts";
import { checkMasterKeys, readMasterKeyChecks } from "../postgres/start/master-key-checks.ts";
import { countMasterKeyUses, NEEDED_USES } from "../postgres/start/master-key-uses.ts";
import { type Patience, retryWhileUnavailable } from "../postgres/start/open-database.ts";
import { tiersInUse } from "../postgres/start/tiers-in-use.ts";
import { itself } from "../shares/holder.ts";

export interface PreparedDatabaseOptions extends Omit<DatabaseOptions, "target" | "log">, Patience {
  readonly config: Config;
  readonly ring: KeyRing;
}

const STARTING = { holder: itself("start") };
/** Of one statement: an index over some hundred million rows. A service's own statements have a second. */
const PREPARATION_TIMEOUT_MS = 300_000;
/** A statement that waits for a table's lock holds up all that come behind it, so it gives way and is tried again. */
const PREPARATION_LOCK_MS = 1000;

/**
 * Opens the database that the configuration names, applies the schema, and refuses to go on with a configuration that
 * does not fit what is stored. A database that is away at any step of this is waited for.
 *
 * @throws Error that says what does not fit, or that the database did not answer for so long
 */
export function openPreparedDatabase(options: PreparedDatabaseOptions): Promise<Database> {
  const target = databaseTarget(options.config);
  return retryWhileUnavailable(options, async () => {
    // What prepares may take its time; on the embedded database, which one process may open, everything may.
    if (target.kind === "postgres") {
      const limits = { statementTimeoutMs: PREPARATION_TIMEOUT_MS, lockTimeoutMs: PREPARATION_LOCK_MS };
      const patient = { ...limits, purpose: "migrations" as const };
      const database = await Database.open({ target: { ...target, ...patient }, log: options.log });
      await prepare(database, options).finally(() => database.close());
    }
    const database = await Database.open({ ...options, target });
    try {
      if (target.kind === "embedded") await prepare(database, options);
      await warnOfMissingVersions(database.for(STARTING), options);
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  });
}

async function prepare(opened: Database, options: PreparedDatabaseOptions): Promise<void> {
  const database = opened.for(STARTING);
  if (options.config.migrate) await database.migrate();
  await checkMasterKeys(database, options.ring);
  await checkTiers(database, options);
}

export function databaseTarget(config: Config): DatabaseTarget {
  return config.database === undefined
    ? { kind: "embedded", folder: config.dataDir }
    : { kind: "postgres", connection: config.database, poolSize: config.databasePoolSize };
}

/**
 * A version that this database was used with and the ring lacks: what is kept under it is UNAVAILABLE. That stops no
 * start, since everything else is well, and what can't be counted within the time of a statement stops none either.
 */
async function warnOfMissingVersions(database: ManagedDatabase, { ring, log }: PreparedDatabaseOptions): Promise<void> {
  const checks = [...(await readMasterKeyChecks(database, ring))];
  const missing = checks.filter(([, check]) => check === "not_in_ring").map(([version]) => version);
  if (missing.length === 0) return;
  try {
    const counts = (await countMasterKeyUses(database, missing)).filter(({ use }) => NEEDED_USES.includes(use));
    for (const version of missing) {
      const ofVersion = counts.filter((each) => each.version === version);
      if (ofVersion.length === 0) continue;
      const fields = Object.fromEntries(ofVersion.map(({ use, count }) => [use, count]));
      log.warn("LATCHKEY_MASTER_KEYS lacks a version that stored data needs", {
        version,
        ...fields,
      });
    }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    log.warn("what needs the missing versions of LATCHKEY_MASTER_KEYS could not be counted", {
      versions: missing.join(","),
      reason: error.reason,
    });
  }
}

/** A tier that the configuration lacks would silently be judged as the lowest. */
async function checkTiers(database: ManagedDatabase, { config, log }: PreparedDatabaseOptions): Promise<void> {
  const known = new Set(config.tiers.map((tier) => tier.name));
  const missing = (await tiersInUse(database)).filter((tier) => !known.has(tier));
  if (missing.length === 0) return;
  const names = missing.join(", ");
  if (config.production) throw new Error(`LATCHKEY_TIERS: lacks ${names}, which users or keys have`);
  log.warn("LATCHKEY_TIERS lacks a tier that users or keys have; the lowest tier is used instead", {
    missing: names,
    judged_as: config.tiers[0].name,
  });
}
