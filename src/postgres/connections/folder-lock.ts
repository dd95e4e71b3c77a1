import { linkSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createPrivateFile, makePrivateFolder } from "../../lib/private-files.ts";
import { randomBase62 } from "../../lib/random.ts";

/** Name of the lock in the folder. */
export const LOCK_FILE = "lock";

/**
 * Locks the folder of the embedded database for this process. PGlite has no lock, and two processes would corrupt its
 * files. The lock is a file with the holder's pid and start time. So it does not outlive a crash, even if another
 * process gets the same pid.
 *
 * @returns unlocks the folder
 * @throws Error that names the holder
 */
export function lockFolder(folder: string): () => void {
  makePrivateFolder(folder);
  const path = join(folder, LOCK_FILE);
  const mine = `${process.pid} ${startTime(process.pid)}`;
  for (let attempt = 0; attempt < 3; attempt++) {
    if (createPrivateFile(path, mine)) return () => release(path, mine);
    const holder = read(path);
    if (holder === undefined) continue;
    if (isAlive(holder)) {
      throw new Error(
        `the data folder ${folder} is in use by process ${holder.split(" ")[0]}; stop it, or set LATCHKEY_DATA_DIR to another folder`,
      );
    }
    // Rename the stale lock instead of removing it: of two processes that see it, only one can rename it. If another
    // process replaced the lock in between, its lock is put back.
    const aside = `${path}.${randomBase62(8)}`;
    if (!tryRename(path, aside)) continue;
    if (read(aside) !== holder) tryLink(aside, path);
    rmSync(aside, { force: true });
  }
  throw new Error(`the data folder ${folder} could not be locked; try again`);
}

function release(path: string, mine: string): void {
  if (read(path) === mine) rmSync(path, { force: true });
}

function isAlive(holder: string): boolean {
  const [pid, started] = holder.split(" ");
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  return startTime(Number(pid)) === started;
}

/** Start time in clock ticks since boot, field 22 of proc(5) stat; empty on a system without /proc. */
function startTime(pid: number): string {
  const stat = read(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function tryLink(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}
