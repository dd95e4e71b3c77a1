import type { Config } from "../config/config.ts";
import { DomainError } from "../lib/errors.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { Database, type DatabaseOptions, type DatabaseTarget, type ManagedDatabase } from "../postgres/database.ts";
import { tooNewText } from "../postgres/migrations/schema-state.ts";
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
/** Timeout of one statement: time for an index over some hundred million rows. Statements of the service have 1 s. */
const PREPARATION_TIMEOUT_MS = 300_000;
/**
 * Timeout for a lock of a table. A statement that waits for one delays all later statements on the table. So it gives
 * up and is tried again.
 */
const PREPARATION_LOCK_MS = 1000;

/**
 * Opens the configured database, applies the schema, and refuses a configuration that does not fit the stored data. If
 * the database is unreachable at any step, it waits for up to `waitMs`.
 *
 * @throws Error that says what does not fit, or that the database did not answer within `waitMs`
 */
export function openPreparedDatabase(options: PreparedDatabaseOptions): Promise<Database> {
  const target = databaseTarget(options.config);
  return retryWhileUnavailable(options, async () => {
    // Statements that prepare the database have a longer timeout. The embedded database can be opened only once, so
    // there all statements have the timeout of the service.
    if (target.kind === "postgres") {
      const database = await Database.open({ target: patient(target), log: options.log });
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

/**
 * Applies the schema without a start. It waits as a start does: for an unreachable database, for the lock of
 * migrations, and for a table that others have locked.
 *
 * @param onApplied is called with the name of each migration
 * @throws Error that says what to do
 */
export function migrateDatabase(
  options: { readonly config: Config } & Patience,
  onApplied: (name: string) => void,
): Promise<void> {
  const target = patient(databaseTarget(options.config));
  return retryWhileUnavailable(options, async () => {
    const database = await Database.open({ target, log: options.log });
    await database.migrate({ onApplied }).finally(() => database.close());
  });
}

function patient(target: DatabaseTarget): DatabaseTarget {
  if (target.kind === "embedded") return target;
  const limits = { statementTimeoutMs: PREPARATION_TIMEOUT_MS, lockTimeoutMs: PREPARATION_LOCK_MS };
  return { ...target, ...limits, purpose: "migrations" };
}

async function prepare(opened: Database, options: PreparedDatabaseOptions): Promise<void> {
  const database = opened.for(STARTING);
  if (options.config.migrate) await database.migrate({ leavesIndexes: true });
  else await requireSchema(database);
  const { later, needed, pending } = await database.schema();
  if (pending.length > 0) {
    options.log.warn("the database lacks indexes; calls that need them are slower", { missing: pending.join(",") });
  }
  if (later.length > 0) options.log.info("the schema is newer than this version", { newest: later.at(-1)!, needed });
  await checkMasterKeys(database, options.ring);
  await checkTiers(database, options);
}

/**
 * Refuses a schema that lacks a migration, or that is too new, where this process may not change it. Otherwise the
 * first call that needs a missing column would fail. An index that only makes reads faster may be missing: the command
 * may need hours for it.
 */
async function requireSchema(database: Database): Promise<void> {
  const state = await database.schema();
  const tooNew = tooNewText(state);
  if (tooNew !== undefined) throw new Error(tooNew);
  if (state.required.length === 0) return;
  throw new Error(
    `LATCHKEY_MIGRATE is false, and the database lacks ${state.pending.join(", ")}; run: npm run --silent migrate`,
  );
}

export function databaseTarget(config: Config): DatabaseTarget {
  return config.database === undefined
    ? { kind: "embedded", folder: config.dataDir }
    : { kind: "postgres", connection: config.database, poolSize: config.databasePoolSize };
}

/**
 * Warns of each master key version that stored data needs and the ring lacks: calls that need this data fail. That does
 * not stop the start, because everything else works. Nor does a count that exceeds the timeout of its statement.
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

/**
 * Refuses a configuration that lacks a stored tier in production: keys of that tier would get the lowest one unnoticed.
 */
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
