import { createHmac, timingSafeEqual } from "node:crypto";
import type { KeyRing } from "../lib/key-ring.ts";
import { bytesOf, type Database } from "./database.ts";

/**
 * Compares the ring with what the database knows of it. The database keeps one value per version, from which nothing of
 * the key can be learnt: a start with other bytes under a known version would turn every good key bad.
 *
 * @throws Error that names each version whose bytes differ
 */
export async function checkMasterKeys(database: Database, ring: KeyRing): Promise<void> {
  const wrong: number[] = [];
  for (const version of ring.versions) {
    const own = createHmac("sha256", ring.derive("check-value", version)!).update(`version ${version}`).digest();
    await database.run(
      "insert into master_key_checks (version, check_value) values (?, decode(?, 'hex')) on conflict (version) do nothing",
      [version, own.toString("hex")],
    );
    const [row] = await database.run("select check_value from master_key_checks where version = ?", [version]);
    if (!timingSafeEqual(bytesOf(row?.check_value), own)) wrong.push(version);
  }
  if (wrong.length === 0) return;
  throw new Error(
    `LATCHKEY_MASTER_KEYS: version ${wrong.join(", ")} has other bytes than this database was used with; restore the original key, or add a new one under a new version`,
  );
}
