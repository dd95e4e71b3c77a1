/** CPU time of other processes, in microseconds since they started. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Redis } from "ioredis";

/** USER_HZ, the unit of CPU time in stat: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU time of all threads of a process. */
export function processCpuUs(pid: number): number {
  if (existsSync(`/proc/${pid}/task/${pid}/schedstat`)) return fromSchedstat(pid);
  return existsSync(`/proc/${pid}/stat`) ? fromStat(pid) : fromPs(pid);
}

/** CPU time per thread, in nanoseconds. Node's threads live as long as the process, so no time gets lost. */
function fromSchedstat(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  return times.reduce((sum, ns) => sum + Number(ns), 0) / 1000;
}

/** CPU time in steps of 10 ms, which is 1 % of a second. */
function fromStat(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // proc_pid_stat(5): utime and stime are fields 14 and 15; the name in field 2 may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND;
}

/** CPU time of a Redis server, by its own count. */
export async function redisCpuUs(redis: Redis): Promise<number> {
  const info = await redis.info("cpu");
  const seconds = [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map((match) => Number(match[1]));
  return seconds.reduce((sum, one) => sum + one, 0) * 1e6;
}

/** CPU time by ps, in the form `[[dd-]hh:]mm:ss[.hh]`; macOS adds the fractions. */
function fromPs(pid: number): number {
  const { stdout } = spawnSync("ps", ["-o", "time=", "-p", String(pid)], { encoding: "utf8" });
  const seconds = stdout
    .trim()
    .split(/[-:]/)
    .reduce((sum, part) => sum * 60 + Number(part), 0);
  return seconds * 1e6;
}
