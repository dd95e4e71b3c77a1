import { createHmac, timingSafeEqual } from "node:crypto";
import type { KeyRing } from "../lib/key-ring.ts";
import { bytesOf, type ManagedDatabase } from "./database.ts";

/**
 * What the database's value for a version says of this ring: it holds the same bytes, other ones, or no such version;
 * or the database does not know the version yet, since no process has started with it.
 */
export type MasterKeyCheck = "same" | "other" | "not_in_ring" | "unknown";

/**
 * Compares the ring with what the database knows of it. The database keeps one value per version, from which nothing of
 * the key can be learnt: a start with other bytes under a known version would turn every good key bad.
 *
 * @throws Error that names each version whose bytes differ
 */
export async function checkMasterKeys(database: ManagedDatabase, ring: KeyRing): Promise<void> {
  // A ring that is refused leaves nothing behind: its new versions may be as wrong as its old ones.
  const before = await readMasterKeyChecks(database, ring);
  refuseOther(before);
  for (const version of ring.versions.filter((each) => before.get(each) === "unknown")) {
    await database.write(
      "insert into master_key_checks (version, check_value) values (?, decode(?, 'hex')) on conflict (version) do nothing",
      [version, checkValue(ring, version).toString("hex")],
    );
  }
  // Another process may have been first with a version.
  refuseOther(await readMasterKeyChecks(database, ring));
}

function refuseOther(checks: ReadonlyMap<number, MasterKeyCheck>): void {
  const wrong = [...checks].filter(([, check]) => check === "other").map(([version]) => version);
  if (wrong.length === 0) return;
  throw new Error(
    `LATCHKEY_MASTER_KEYS: version ${wrong.join(", ")} has other bytes than this database was used with; restore the original key, or add a new one under a new version`,
  );
}

/** How each version stands that the ring or the database knows, by version. Writes nothing. */
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
