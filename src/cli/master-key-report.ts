import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { systemClock } from "../lib/clock.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { createCommandLog } from "../lib/log.ts";
import { EMBEDDED_FOLDER, type ManagedDatabase } from "../postgres/database.ts";
import { type MasterKeyCheck, readMasterKeyChecks } from "../postgres/start/master-key-checks.ts";
import {
  countMasterKeyUses,
  MASTER_KEY_USES,
  type MasterKeyCount,
  type MasterKeyUse,
  NEEDED_USES,
} from "../postgres/start/master-key-uses.ts";
import { openDatabase } from "../postgres/start/open-database.ts";
import { itself } from "../shares/holder.ts";
import { readMasterKeys } from "../start/master-keys.ts";
import { databaseTarget } from "../start/prepared-database.ts";

/** The amount of one kind of data under a version, and when the last of it ends, if all of it ends by itself. */
export interface UseOfVersion {
  readonly use: MasterKeyUse;
  readonly count: number;
  readonly endsAtMs: number | undefined;
}

/** The standing of one version of the master key. */
export interface MasterKeyVersion {
  readonly version: number;
  readonly isInRing: boolean;
  /** Whether it protects new data, in this ring. */
  readonly isFirst: boolean;
  readonly check: MasterKeyCheck;
  /** Only the kinds of data that exist under this version. */
  readonly uses: readonly UseOfVersion[];
  /** Why it must stay in the ring now; none = it may be removed. */
  readonly reasons: readonly string[];
}

/** Timeout of one statement. It is long, because counting reads whole tables. */
const STATEMENT_TIMEOUT_MS = 120_000;
const DATABASE_WAIT_MS = 10_000;

/**
 * The standing of each version of the master key that the ring or the database knows, newest first. Writes nothing,
 * neither to the database nor to the data folder, so that it does no harm with a wrong ring.
 *
 * @throws Error that says what to do: no master keys, no schema, the embedded database in use, PostgreSQL unreachable
 */
export async function masterKeyReport(config: Config): Promise<readonly MasterKeyVersion[]> {
  const ring = readMasterKeys(config);
  const target = databaseTarget(config);
  if (target.kind === "embedded" && !existsSync(join(target.folder, EMBEDDED_FOLDER))) {
    throw new Error(
      `there is no database in ${target.folder}; set DATABASE_URL, or LATCHKEY_DATA_DIR to the service's`,
    );
  }
  const database = await openDatabase({
    target: target.kind === "embedded" ? target : { ...target, statementTimeoutMs: STATEMENT_TIMEOUT_MS },
    clock: systemClock,
    log: createCommandLog(),
    waitMs: DATABASE_WAIT_MS,
  });
  try {
    return await reportOf(database.for({ holder: itself("report") }), ring);
  } finally {
    await database.close();
  }
}

/** Like masterKeyReport, for a database that is open already. */
export async function reportOf(database: ManagedDatabase, ring: KeyRing): Promise<readonly MasterKeyVersion[]> {
  const [schema] = await database.read("select to_regclass('key_secrets_by_pepper') is not null as is_there", []);
  if (!schema?.is_there)
    throw new Error("this database lacks the schema of this version; start the service once first");
  const checks = await readMasterKeyChecks(database, ring);
  const counts = await countMasterKeyUses(database);
  const versions = new Set([
    ...checks.keys(),
    ...counts.map(({ version }) => version).filter((version) => version > 0),
  ]);
  return [...versions]
    .sort((a, b) => b - a)
    .map((version) => {
      const check = checks.get(version) ?? "not_in_ring";
      const isInRing = ring.versions.includes(version);
      const standing = { version, isInRing, isFirst: version === ring.current, check, uses: usesOf(version, counts) };
      return Object.freeze({ ...standing, reasons: reasonsToStay(ring, standing) });
    });
}

/** The uses of a version. Rows that are older than the column of the version count for every version. */
function usesOf(version: number, counts: readonly MasterKeyCount[]): UseOfVersion[] {
  const mine = counts.filter((each) => each.version === version || each.version === 0);
  return MASTER_KEY_USES.flatMap((use) => {
    const ofUse = mine.filter((each) => each.use === use);
    if (ofUse.length === 0) return [];
    const ends = ofUse.map((each) => each.endsAtMs ?? Number.POSITIVE_INFINITY);
    const endsAtMs = Math.max(...ends);
    const count = ofUse.reduce((sum, each) => sum + each.count, 0);
    return [Object.freeze({ use, count, endsAtMs: Number.isFinite(endsAtMs) ? endsAtMs : undefined })];
  });
}

function reasonsToStay(ring: KeyRing, standing: Omit<MasterKeyVersion, "reasons">): string[] {
  const { version, uses, isFirst } = standing;
  const needed = uses.filter(({ use }) => NEEDED_USES.includes(use)).map(useText);
  const isHigher = version > ring.current && needed.length > 0;
  return [
    ...(isFirst ? ["it is the first of the ring"] : []),
    ...(isFirst ? [] : needed),
    ...(isHigher ? [`nothing moves from it to the first, ${ring.current}, which is lower`] : []),
  ];
}

const NAMES: Record<MasterKeyUse, readonly [one: string, more: string]> = {
  api_key_secrets: ["API key secret", "API key secrets"],
  service_credential_secrets: ["service credential secret", "service credential secrets"],
  sessions: ["session", "sessions"],
  password_hashes: ["password hash", "password hashes"],
  signing_keys: ["signing key", "signing keys"],
  reset_tokens: ["reset token", "reset tokens"],
  login_networks: ["login network", "login networks"],
  login_failures: ["account with failed logins", "accounts with failed logins"],
  ended_secrets: ["ended secret", "ended secrets"],
};

/** A use in words, such as `3 sessions until 2026-12-24T08:00:00.000Z` */
export function useText({ use, count, endsAtMs }: UseOfVersion): string {
  const until = endsAtMs === undefined ? "" : ` until ${new Date(endsAtMs).toISOString()}`;
  return `${count} ${NAMES[use][count === 1 ? 0 : 1]}${until}`;
}
