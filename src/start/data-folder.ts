import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import type { Log } from "../lib/log.ts";
import { makePrivateFolder, openPrivateFolder } from "../lib/private-files.ts";
import { LOCK_FILE } from "../postgres/connections/folder-lock.ts";
import { EMBEDDED_FOLDER } from "../postgres/database.ts";

/** The files of the data folder, by name. */
export const DATA_FILES = { masterKeys: "master-keys", adminCredential: "admin-credential" } as const;

/**
 * Makes and checks the data folder, if this configuration keeps anything in it. Call it before anything is read from
 * the folder. The folder then has mode 0700 and its files have 0600, and all of it belongs to this user. A service on
 * PostgreSQL with configured master keys needs no data folder.
 *
 * @throws Error that says what to do, if other users could have written files that the service would trust
 */
export function openDataFolder(config: Config, log: Log): void {
  const isNeeded = config.database === undefined || config.masterKeys === undefined;
  // A development service may still write the first operator's credential, if there is a place.
  if (!isNeeded && (config.production || !existsSync(config.dataDir))) return;
  const ours = [...Object.values(DATA_FILES), LOCK_FILE, EMBEDDED_FOLDER];
  openPrivateFolder(config.dataDir, { ours, strict: config.production, log });
  // Made here, because PGlite would make it readable for other users.
  if (config.database === undefined) makePrivateFolder(join(config.dataDir, EMBEDDED_FOLDER));
}
