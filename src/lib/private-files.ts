/**
 * Files and folders that only one user can read. Only this file creates files for the service. A secret goes into a new
 * file of mode 0600, never into an existing file. It never goes through a symbolic link that another user left in its
 * place.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Log } from "./log.ts";
import { randomBase62 } from "./random.ts";

export interface PrivateFolderOptions {
  /** Prefixes of the names of this project's files in the folder. */
  readonly ours: readonly string[];
  /** Whether to refuse a file system that keeps no modes, such as some network shares. false: only warn. */
  readonly strict: boolean;
  readonly log: Log;
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const OTHERS = 0o077;
const STICKY = 0o1000;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

/** Creates the folder, and its missing parents, for this user alone. An existing folder stays as it is. */
export function makePrivateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
}

/**
 * Creates the folder if it is missing, and ensures that other users can neither enter it nor have planted files under
 * our names. A mode that is too open is corrected, with a warning for each file. A folder that others use too is
 * refused, not closed.
 *
 * @throws Error that says what to do
 */
export function openPrivateFolder(folder: string, options: PrivateFolderOptions): void {
  makePrivateFolder(folder);
  const user = process.geteuid?.();
  // Windows has no such owners and modes.
  if (user === undefined) return;
  const stats = statSync(folder);
  if (stats.uid !== user) throw new Error(foreign("the data folder", folder, stats, user));
  if ((stats.mode & OTHERS) !== 0) closeFolder(folder, stats, options);
  for (const name of readdirSync(folder).filter((each) => isOurs(each, options))) {
    const path = join(folder, name);
    const entry = lstatSync(path, { throwIfNoEntry: false });
    if (entry === undefined) continue;
    if (entry.uid !== user) throw new Error(foreign("", path, entry, user));
    if (entry.isFile()) mend(path, FILE_MODE, options);
    if (entry.isDirectory()) mend(path, FOLDER_MODE, options);
  }
}

/**
 * Closes the folder to other users, unless they use it too: the service must not close `/tmp` or a home folder that it
 * was given by mistake.
 */
function closeFolder(folder: string, { mode }: Stats, options: PrivateFolderOptions): void {
  const stranger = readdirSync(folder).find((name) => !isOurs(name, options) && !/^(\.|lost\+found$)/.test(name));
  if (stranger !== undefined || (mode & STICKY) !== 0) {
    const holds = stranger === undefined ? "is shared" : `holds other things, such as ${stranger}`;
    throw new Error(
      `the data folder ${folder} lets others in (mode ${modeText(mode)}) and ${holds}; run chmod 700 ${folder}, or set LATCHKEY_DATA_DIR to a folder of its own`,
    );
  }
  mend(folder, FOLDER_MODE, options);
}

/**
 * Sets the mode if others have any permission. Works on a descriptor, so that no other file can take its place
 * meanwhile.
 */
function mend(path: string, wanted: number, { strict, log }: PrivateFolderOptions): void {
  const fd = openSync(path, O_RDONLY | O_NONBLOCK | (wanted === FOLDER_MODE ? O_DIRECTORY : O_NOFOLLOW));
  try {
    const before = fstatSync(fd).mode;
    if ((before & OTHERS) === 0) return;
    fchmodSync(fd, wanted);
    const fields = { path, mode: modeText(before) };
    if ((fstatSync(fd).mode & OTHERS) === 0) {
      log.warn("a private file or folder was open to others, and is now closed to them", fields);
      return;
    }
    const fault = "a private file or folder is open to others, because its file system keeps no modes";
    if (strict) throw new Error(`${path}: ${fault}; set LATCHKEY_DATA_DIR to a folder on another file system`);
    log.warn(fault, fields);
  } finally {
    closeSync(fd);
  }
}

function isOurs(name: string, { ours }: PrivateFolderOptions): boolean {
  return ours.some((beginning) => name === beginning || name.startsWith(`${beginning}.`));
}

/**
 * Writes a new file of mode 0600, which is complete from the moment at which it is visible.
 *
 * @returns false if the name is taken, even by a symbolic link; then nothing was written
 */
export function createPrivateFile(path: string, text: string): boolean {
  return throughDraft(path, text, (draft) => {
    try {
      linkSync(draft, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  });
}

/** Writes a new file of mode 0600 in place of the file or symbolic link of that name, if there is one. */
export function replacePrivateFile(path: string, text: string): void {
  throughDraft(path, text, (draft) => renameSync(draft, path));
}

/**
 * The text of a file that belongs to this user; undefined if there is no such file.
 *
 * @throws Error that names the file if it is a symbolic link, not a regular file, or another user's
 */
export function readPrivateFile(path: string): string | undefined {
  let fd: number;
  try {
    // Non-blocking, because opening a pipe without a writer would never end.
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "ELOOP") throw new Error(`${path} is a symbolic link; put the file itself there`);
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error(`${path} is not a regular file; remove it`);
    const user = process.geteuid?.() ?? stats.uid;
    if (stats.uid !== user) throw new Error(foreign("", path, stats, user));
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

function throughDraft<T>(path: string, text: string, publish: (draft: string) => T): T {
  const draft = `${path}.${randomBase62(8)}`;
  try {
    // Fails if the name is taken, even by a dangling link.
    const fd = openSync(draft, "wx", FILE_MODE);
    try {
      // The umask may have removed bits of the mode.
      fchmodSync(fd, FILE_MODE);
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    const published = publish(draft);
    syncFolder(dirname(path));
    return published;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Writes the folder to the disk; without that a new name may be lost in a crash. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function foreign(what: string, path: string, { uid }: Stats, user: number): string {
  return `${what} ${path} belongs to user ${uid}, and this process runs as user ${user}; change its owner, or set LATCHKEY_DATA_DIR to another folder`.trim();
}

/** In octal, such as 0755. */
function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
