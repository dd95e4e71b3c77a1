/**
 * Files and folders for one user alone, the only place that writes any: a secret goes into a new file of mode 0600,
 * never into one that is there, and never through a symbolic link that somebody left in its place.
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
  /** Beginnings of the names that this project gives to what it keeps in the folder. */
  readonly ours: readonly string[];
  /** Whether a file system that keeps no modes, as of some shares, is refused or only told. */
  readonly strict: boolean;
  readonly log: Log;
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const OTHERS = 0o077;
const STICKY = 0o1000;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

/** Makes the folder, and those above it, for this user alone. One that is there stays as it is. */
export function makePrivateFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
}

/**
 * Makes the folder where it is missing, and sees to it that others can neither enter it nor have put into it what is
 * ours. What is merely too open is mended, with a warning for each; a folder that others use too is not closed to them.
 *
 * @throws Error that says what to do
 */
export function openPrivateFolder(folder: string, options: PrivateFolderOptions): void {
  makePrivateFolder(folder);
  const user = process.geteuid?.();
  // Windows has neither owners nor modes of this kind.
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

/** Closes it to others, unless it is also theirs: `/tmp` or a home are not to be closed by a service that is pointed at them. */
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

/** Sets the mode where others have any part in it. By a descriptor, so that nothing can be put in its place meanwhile. */
function mend(path: string, wanted: number, { strict, log }: PrivateFolderOptions): void {
  const fd = openSync(path, O_RDONLY | O_NONBLOCK | (wanted === FOLDER_MODE ? O_DIRECTORY : O_NOFOLLOW));
  try {
    const before = fstatSync(fd).mode;
    if ((before & OTHERS) === 0) return;
    fchmodSync(fd, wanted);
    const fields = { path, mode: modeText(before) };
    if ((fstatSync(fd).mode & OTHERS) === 0) {
      log.warn(`what is private was open to others; its mode is ${modeText(wanted)} now`, fields);
      return;
    }
    const fault = "what is private is open to others, since its file system keeps no modes";
    if (strict) throw new Error(`${path}: ${fault}; set LATCHKEY_DATA_DIR to a folder of another file system`);
    log.warn(fault, fields);
  } finally {
    closeSync(fd);
  }
}

function isOurs(name: string, { ours }: PrivateFolderOptions): boolean {
  return ours.some((beginning) => name === beginning || name.startsWith(`${beginning}.`));
}

/**
 * Writes a new file of mode 0600 that is whole from the moment at which it can be seen.
 *
 * @returns false where the name is taken, also by a symbolic link, and then nothing was written
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

/** Writes a new file of mode 0600 and puts it in the place of the one of that name, or of the symbolic link, if there is one. */
export function replacePrivateFile(path: string, text: string): void {
  throughDraft(path, text, (draft) => renameSync(draft, path));
}

/**
 * The text of a file that belongs to this user, undefined where there is none.
 *
 * @throws Error that names the file: a symbolic link, no plain file, another user's
 */
export function readPrivateFile(path: string): string | undefined {
  let fd: number;
  try {
    // Without waiting: the open of a pipe without a writer would never end.
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "ELOOP") throw new Error(`${path} is a symbolic link; put the file itself there`);
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error(`${path} is no plain file; remove it`);
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
    // Fails where the name is taken, also by a link that leads nowhere.
    const fd = openSync(draft, "wx", FILE_MODE);
    try {
      // The umask may have taken from the mode.
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

/** A name is on the disk only when its folder is. */
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

/** Such as 0755. */
function modeText(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}
