/** Who runs where: on a core shared by server and load generator, each would be measured together with the other. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** One core each where there are enough. */
export interface Cores {
  /** The server under test, alone. */
  readonly server: number;
  /** The load generator and this process. */
  readonly load: number;
  /** Redis and PostgreSQL: the load generator's core on a machine with two. */
  readonly stores: number;
}

/** The cores to use; undefined where processes can't be pinned (no taskset, or one core), and then nothing is. */
export function chooseCores(): Cores | undefined {
  const allowed = allowedCores();
  if (allowed.length < 2 || spawnSync("taskset", ["--version"]).error !== undefined) return undefined;
  return { server: allowed[0]!, load: allowed[1]!, stores: allowed[2] ?? allowed[1]! };
}

/** Moves a process that runs, with all its threads. What it starts later stays there too. */
export function pin(pid: number, core: number): void {
  spawnSync("taskset", ["-acp", String(core), String(pid)]);
}

/** As the kernel lists them, `0-1,4` (proc_pid_status(5)); none where there is no such file. */
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
