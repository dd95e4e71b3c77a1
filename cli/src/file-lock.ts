import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { EXIT } from "./exit-codes.ts";
import { Fault } from "./faults.ts";

/** A holder that is older was killed: its work has a deadline of 10 s. */
const STALE_MS = 30_000;
const POLL_MS = 50;
const LONGEST_WAIT_MS = 45_000;

/**
 * Runs the work while no other process runs its own under the same lock. The lock is a file that exists while one holds
 * it, because Node has no lock of the operating system. A lock that its holder left behind is broken after 30 s.
 *
 * @param work takes at most 10 s
 * @throws Fault if others hold the lock for 45 s, or the file can't be made
 */
export async function locked<T>(path: string, work: () => Promise<T>): Promise<T> {
  const own = randomBytes(12).toString("hex");
  const lastMs = performance.now() + LONGEST_WAIT_MS;
  while (!taken(path, own)) {
    breakStale(path);
    if (performance.now() > lastMs) throw new Fault(EXIT.FAILED, `another latchkey holds ${path}; try again`);
    await pause(POLL_MS);
  }
  try {
    return await work();
  } finally {
    if (textOf(path) === own) rmSync(path, { force: true });
  }
}

function taken(path: string, own: string): boolean {
  try {
    writeFileSync(path, own, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    throw new Fault(EXIT.FAILED, `${path} can't be written (${code})`);
  }
}

/** Between the look and the rename another process may have broken and taken the lock: then its file is put back. */
function breakStale(path: string): void {
  const found = textOf(path);
  const modifiedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  if (modifiedMs === undefined || Date.now() - modifiedMs < STALE_MS) return;
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    renameSync(path, aside);
    if (textOf(aside) !== found) linkSync(aside, path);
  } catch {
    // Another process was quicker.
  } finally {
    rmSync(aside, { force: true });
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
