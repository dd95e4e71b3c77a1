/**
 * One child process of a test that is a server: started, watched, frozen, ended. It ends with the test run whatever
 * happens to the run, and nothing here ever signals a process that it did not start.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

export interface ProcessSpec {
  readonly command: string;
  readonly args: readonly string[];
  /** Private folder of the server: its working directory, removed by the watchdog should the test run be killed. */
  readonly folder: string;
  readonly logFile: string;
  /** Run as this user instead of the current one. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

export interface WatchedProcess {
  readonly pid: number;
  isRunning(): boolean;
  /** Stops the process and all of its children where they stand: connections stay open, nothing answers. */
  freeze(): Promise<void>;
  resume(): void;
  /** Sends the signal to the process, resumes it if it is frozen, and waits until it is gone. */
  end(signal: "SIGTERM" | "SIGINT"): Promise<void>;
  /** SIGKILL to the process and all of its children; waits until they are gone. */
  kill(): Promise<void>;
}

/**
 * Starts a server and waits until `isReady` says so.
 *
 * @throws Error with the end of its log when it exits or does not get ready within 30 s
 */
export async function startProcess(spec: ProcessSpec, isReady: () => Promise<boolean>): Promise<WatchedProcess> {
  const log = openSync(spec.logFile, "a");
  const child = spawn(spec.command, spec.args, {
    cwd: spec.folder,
    stdio: ["ignore", log, log],
    detached: true,
    ...spec.user,
  });
  closeSync(log);
  child.on("error", () => {});
  if (child.pid === undefined) throw new Error(`${spec.command} cannot be run`);
  const running = watchedProcess(child, child.pid, spec.folder);
  try {
    await until(async () => {
      if (!running.isRunning()) throw new Error(`${spec.command} ended:\n${tail(spec.logFile)}`);
      return isReady();
    }, `${spec.command} is ready`);
  } catch (error) {
    await running.kill();
    throw error;
  }
  child.unref();
  return running;
}

function watchedProcess(child: ChildProcess, pid: number, folder: string): WatchedProcess {
  const watchdog = watch(pid, folder);
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const isGone = async () => !isRunning();
  child.on("exit", () => watchdog.kill("SIGKILL"));

  async function freeze(): Promise<void> {
    // The parent first, so that no child appears after they were counted.
    signalAll([pid], "SIGSTOP");
    await until(async () => isStopped(pid), `${pid} is stopped`);
    const children = childrenOf(pid);
    signalAll(children, "SIGSTOP");
    await until(async () => children.every(isStopped), `the children of ${pid} are stopped`);
  }
  const resume = () => signalAll([...childrenOf(pid), pid], "SIGCONT");

  return {
    pid,
    isRunning,
    freeze,
    resume,
    end: async (signal) => {
      if (!isRunning()) return;
      signalAll([pid], signal);
      resume();
      await until(isGone, `${pid} has ended`);
    },
    kill: async () => {
      if (!isRunning()) return;
      await freeze();
      const all = [pid, ...childrenOf(pid)];
      signalAll(all, "SIGKILL");
      await until(isGone, `${pid} has ended`);
      await until(async () => all.every(isDead), `the children of ${pid} have ended`);
    },
  };
}

/**
 * A shell that waits for the end of its standard input, which is the end of the test run, even by SIGKILL; then it ends
 * the server and removes its folder. It is killed as soon as the server has ended, so it never meets a reused pid.
 */
function watch(pid: number, folder: string): ChildProcess {
  const script = `
    cat >/dev/null
    kill -STOP "$1"
    kill -KILL $(pgrep -P "$1") "$1"
    rm -rf "$2"`;
  const watchdog = spawn("sh", ["-c", script, "watchdog", String(pid), folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.on("error", () => {});
  watchdog.unref();
  (watchdog.stdin as unknown as { unref(): void }).unref();
  return watchdog;
}

/** Pids of the direct children. PostgreSQL's backends are all of that kind, each in a process group of its own. */
export function childrenOf(pid: number): readonly number[] {
  if (!existsSync("/proc/self/stat")) {
    return spawnSync("pgrep", ["-P", String(pid)], { encoding: "utf8" })
      .stdout.split("\n")
      .filter(Boolean)
      .map(Number);
  }
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((candidate) => procStat(candidate)?.parent === pid);
}

/** State letter (proc_pid_stat(5)) and parent of a process; undefined where there is no such process. */
export function procStat(pid: number): { readonly state: string; readonly parent: number } | undefined {
  if (!existsSync("/proc/self/stat")) {
    const { stdout } = spawnSync("ps", ["-o", "state=,ppid=", "-p", String(pid)], { encoding: "utf8" });
    const [state, parent] = stdout.trim().split(/\s+/);
    return state ? { state: state[0]!, parent: Number(parent) } : undefined;
  }
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: state!, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** A zombie is dead too: it has closed its files, and only waits for its parent to look. */
export function isDead(pid: number): boolean {
  return ["Z", "X", undefined].includes(procStat(pid)?.state);
}

function isStopped(pid: number): boolean {
  return procStat(pid)?.state === "T" || isDead(pid);
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/**
 * A free port below the range from which systems take the ports of outgoing connections. In that range, a client that
 * keeps trying a dead server can be given the server's own port, connects to itself, and the server never comes back.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => resolve(true));
    });
    await new Promise((resolve) => probe.close(resolve));
    if (isFree) return port;
  }
}

/** Runs `attempt` with a free port, and with another one if a different process took that port first. */
export async function withFreePort<T>(attempt: (port: number) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt(await freePort());
    } catch (error) {
      if (tries === 5 || !/address already in use/i.test(String(error))) throw error;
    }
  }
}

/** The folder that holds a program, from PATH and the folders given; undefined where there is none. */
export function folderOf(program: string, more: readonly string[] = []): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), ...more];
  return folders.find((folder) => folder !== "" && existsSync(`${folder}/${program}`));
}

/** A new folder that goes with this process at the latest. A process that is killed leaves that to the watchdog. */
export function privateFolder(prefix: string): string {
  if (folders.size === 0) process.once("exit", () => folders.forEach(removeFolder));
  const folder = mkdtempSync(join(tmpdir(), prefix));
  folders.add(folder);
  return folder;
}

const folders = new Set<string>();

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(-20).join("\n") : "(its folder is gone)";
}
