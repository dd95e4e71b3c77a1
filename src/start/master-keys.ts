import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { masterKeys as parseMasterKeys } from "../config/values.ts";
import { KeyRing } from "../lib/key-ring.ts";
import { createPrivateFile, makePrivateFolder, readPrivateFile } from "../lib/private-files.ts";
import { randomBytes } from "../lib/random.ts";
import { DATA_FILES } from "./data-folder.ts";

/**
 * The configured master keys, or those of an earlier start in the data folder, or new ones that it writes there. Only a
 * development service starts without configured ones.
 *
 * @throws Error that names the file if it can't be read or written
 */
export function loadMasterKeys(config: Pick<Config, "masterKeys" | "dataDir">): KeyRing {
  if (config.masterKeys !== undefined) return new KeyRing(config.masterKeys);
  makePrivateFolder(config.dataDir);
  // If two processes start for the first time at once, one makes the file and both read it.
  createPrivateFile(join(config.dataDir, DATA_FILES.masterKeys), `1:${randomBytes(32).toString("base64")}\n`);
  return readMasterKeys(config);
}

/**
 * The configured master keys, or those that a development service keeps in the data folder. Makes none.
 *
 * @throws Error that names the file if it can't be read, and says what to do if there is none
 */
export function readMasterKeys(config: Pick<Config, "masterKeys" | "dataDir">): KeyRing {
  if (config.masterKeys !== undefined) return new KeyRing(config.masterKeys);
  const path = join(config.dataDir, DATA_FILES.masterKeys);
  const text = readPrivateFile(path);
  if (text === undefined) {
    throw new Error(`there is no ${path}; set LATCHKEY_MASTER_KEYS, or LATCHKEY_DATA_DIR to the folder of the service`);
  }
  try {
    return new KeyRing(parseMasterKeys(text.trim()));
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`);
  }
}
