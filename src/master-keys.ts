import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { masterKeys as parseMasterKeys } from "./config-values.ts";
import { KeyRing } from "./lib/key-ring.ts";
import { randomBytes } from "./lib/random.ts";

/** In the data folder of a development service: what LATCHKEY_MASTER_KEYS would hold. */
const FILE = "master-keys";

/**
 * The master keys: as configured, else the ones that an earlier start kept in the data folder, else new ones that are
 * kept there. Only development gets so far without a configuration.
 *
 * @throws Error that names the file if it can't be read or written
 */
export function loadMasterKeys(config: Pick<Config, "masterKeys" | "dataDir">): KeyRing {
  if (config.masterKeys !== undefined) return new KeyRing(config.masterKeys);
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  try {
    // Fails if the file is there: of two first starts at once, one makes it and both read it.
    writeFileSync(join(config.dataDir, FILE), `1:${randomBytes(32).toString("base64")}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return readMasterKeys(config);
}

/**
 * The master keys as configured, else the ones that a development service keeps in the data folder. Makes none.
 *
 * @throws Error that names the file if it can't be read, and says what to do if there is none
 */
export function readMasterKeys(config: Pick<Config, "masterKeys" | "dataDir">): KeyRing {
  if (config.masterKeys !== undefined) return new KeyRing(config.masterKeys);
  const path = join(config.dataDir, FILE);
  try {
    return new KeyRing(parseMasterKeys(readFileSync(path, "utf8").trim()));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw new Error(`${path}: ${(error as Error).message}`);
    throw new Error(`there is no ${path}; set LATCHKEY_MASTER_KEYS, or LATCHKEY_DATA_DIR to the folder of the service`);
  }
}
