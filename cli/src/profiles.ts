/** The file of profiles: addresses and credentials under names, for this user alone. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { EXIT } from "./exit-codes.ts";
import { Fault } from "./faults.ts";
import { locked } from "./file-lock.ts";

/** The settings under one name. */
export interface Profile {
  readonly address?: string;
  /** A service credential. */
  readonly credential?: string;
  /** The path of a file that has one. */
  readonly credentialFile?: string;
  /** The person who logged in last. */
  readonly email?: string;
  /** The session of a person: its tokens, and until when the first one holds, as RFC 3339. */
  readonly accessToken?: string;
  readonly accessTokenExpireTime?: string;
  readonly refreshToken?: string;
}

/** The file's content. */
export interface Profiles {
  /** The profile that is used where none is named. */
  readonly current: string;
  readonly profiles: Readonly<Record<string, Profile>>;
}

export const DEFAULT_PROFILE = "default";
export const PROFILE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const EMPTY: Profiles = { current: DEFAULT_PROFILE, profiles: {} };
const OTHERS = 0o077;
const MOST_BYTES = 1 << 20;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** The path of the file; undefined without a home folder. A relative XDG_CONFIG_HOME counts as none (XDG 0.8). */
export function profilesPath(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { XDG_CONFIG_HOME: xdg, HOME: home } = env;
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, "latchkey", "config.json");
  return home !== undefined && isAbsolute(home) ? join(home, ".config", "latchkey", "config.json") : undefined;
}

/** @throws Fault if the file, or its folder, is open to others, or if its content is wrong */
export function readProfiles(path: string | undefined): Profiles {
  if (path === undefined) return EMPTY;
  const folder = statSync(dirname(path), { throwIfNoEntry: false });
  if (folder === undefined) return EMPTY;
  checkPrivate(dirname(path), folder, "700");
  const text = readPrivate(path);
  if (text === undefined) return EMPTY;
  const content = parsed(text);
  if (content === undefined) throw new Fault(EXIT.FAILED, `${path} is not a file of profiles; mend or remove it`);
  return content;
}

/**
 * Changes the file, which is replaced as a whole. One process at a time does so, and no change is lost between its
 * reading and its writing. Nothing is written if the change returns what it was given.
 *
 * @param change takes at most 10 s
 * @throws Fault without a home folder, as `readProfiles`, and as `change`
 */
export async function changeProfiles(
  path: string | undefined,
  change: (all: Profiles) => Profiles | Promise<Profiles>,
): Promise<void> {
  if (path === undefined) {
    throw new Fault(EXIT.FAILED, "there is no place for profiles: set HOME or XDG_CONFIG_HOME to a folder of yours");
  }
  makeFolder(dirname(path));
  await locked(`${path}.lock`, async () => {
    const all = readProfiles(path);
    const changed = await change(all);
    if (changed !== all) replace(path, changed);
  });
}

/** @throws Fault if it can't be made, or is open to others */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Fault(EXIT.FAILED, `${folder} can't be made (${(error as NodeJS.ErrnoException).code})`);
  }
  checkPrivate(folder, statSync(folder), "700");
}

function replace(path: string, profiles: Profiles): void {
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const fd = openSync(draft, "wx", 0o600);
    try {
      fchmodSync(fd, 0o600);
      writeFileSync(fd, `${JSON.stringify(profiles, undefined, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @throws Fault as `readProfiles` */
function readPrivate(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new Fault(EXIT.FAILED, `${path} can't be read (${code})${code === "ELOOP" ? ": it is a symbolic link" : ""}`);
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile() || stats.size > MOST_BYTES) throw new Fault(EXIT.FAILED, `${path} is not a file of profiles`);
    checkPrivate(path, stats, "600");
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

/** Windows has no such owners and modes. */
function checkPrivate(path: string, { uid, mode }: Stats, wanted: string): void {
  const user = process.geteuid?.();
  if (user === undefined) return;
  if (uid !== user) throw new Fault(EXIT.FAILED, `${path} belongs to another user, so it is not read; remove it`);
  if ((mode & OTHERS) === 0) return;
  throw new Fault(EXIT.FAILED, `${path} is open to other users, so it is not read; run: chmod ${wanted} ${path}`);
}

function parsed(text: string): Profiles | undefined {
  try {
    const { current = DEFAULT_PROFILE, profiles } = JSON.parse(text);
    const isProfile = (one: unknown) =>
      typeof one === "object" && one !== null && Object.values(one).every((value) => typeof value === "string");
    const isGood = typeof current === "string" && typeof profiles === "object" && profiles !== null;
    return isGood && Object.values(profiles).every(isProfile) ? { current, profiles } : undefined;
  } catch {
    return undefined;
  }
}
