import { createHmac, timingSafeEqual } from "node:crypto";
import type { KeyRing } from "../../lib/key-ring.ts";
import { bytesOf, type ManagedDatabase } from "../database.ts";

/**
 * The result of comparing the database's check value of a version with this ring: the ring has the same bytes, other
 * bytes, or no such version. `unknown` = the database has no value, because no process has started with this version.
 */
export type MasterKeyCheck = "same" | "other" | "not_in_ring" | "unknown";

/**
 * Compares the ring with the database's check values, and adds those of new versions. The database keeps one value per
 * version, which reveals nothing about the key. Without this check, a start with other bytes under a known version
 * would make every good API key INVALID.
 *
 * @throws Error that names each version whose bytes differ
 */
export async function checkMasterKeys(database: ManagedDatabase, ring: KeyRing): Promise<void> {
  // First refuse, then write: the new versions of a refused ring may be as wrong as its old ones.
  const before = await readMasterKeyChecks(database, ring);
  refuseOther(before);
  for (const version of ring.versions.filter((each) => before.get(each) === "unknown")) {
    await database.write(
      "insert into master_key_checks (version, check_value) values (?, decode(?, 'hex')) on conflict (version) do nothing",
      [version, checkValue(ring, version).toString("hex")],
    );
  }
  // Another process may have written a version first.
  refuseOther(await readMasterKeyChecks(database, ring));
}

function refuseOther(checks: ReadonlyMap<number, MasterKeyCheck>): void {
  const wrong = [...checks].filter(([, check]) => check === "other").map(([version]) => version);
  if (wrong.length === 0) return;
  throw new Error(
    `LATCHKEY_MASTER_KEYS: version ${wrong.join(", ")} has other bytes than those that this database was used with; restore the original key, or add a new one under a new version`,
  );
}

/** The check of each version that the ring or the database has, by version. Writes nothing. */
export async function readMasterKeyChecks(
  database: ManagedDatabase,
  ring: KeyRing,
): Promise<ReadonlyMap<number, MasterKeyCheck>> {
  const rows = await database.read("select version, check_value from master_key_checks order by version", []);
  const checks = new Map<number, MasterKeyCheck>(ring.versions.map((version) => [version, "unknown"]));
  for (const row of rows) {
    const version = row.version as number;
    if (!ring.versions.includes(version)) checks.set(version, "not_in_ring");
    else checks.set(version, timingSafeEqual(bytesOf(row.check_value), checkValue(ring, version)) ? "same" : "other");
  }
  return checks;
}

function checkValue(ring: KeyRing, version: number): Buffer {
  return createHmac("sha256", ring.derive("check-value", version)!).update(`version ${version}`).digest();
}
