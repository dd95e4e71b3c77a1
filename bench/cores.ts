/** Cores for the processes of a run: on a shared core, server and load generator would be measured together. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The core of each process; one each if there are enough. */
export interface Cores {
  /** The server under test, alone. */
  readonly server: number;
  /** The load generator and this process. */
  readonly load: number;
  /** Redis and PostgreSQL: the load generator's core on a machine with two. */
  readonly stores: number;
}

/** The cores to use; undefined if processes can't be pinned (no taskset, or one core). */
export function chooseCores(): Cores | undefined {
  const allowed = allowedCores();
  if (allowed.length < 2 || spawnSync("taskset", ["--version"]).error !== undefined) return undefined;
  return { server: allowed[0]!, load: allowed[1]!, stores: allowed[2] ?? allowed[1]! };
}

/** Moves a running process with all its threads. Its later children stay there too. */
export function pin(pid: number, core: number): void {
  spawnSync("taskset", ["-acp", String(core), String(pid)]);
}

/** The cores of a list in the kernel's form, `0-1,4` (proc_pid_status(5)); none if there is no such file. */
function allowedCores(): number[] {
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
    return list.split(",").flatMap((range) => {
      const [first, last] = range.split("-").map(Number);
      return Array.from({ length: (last ?? first!) - first! + 1 }, (_, index) => first! + index);
    });
  } catch {
    return [];
  }
}
