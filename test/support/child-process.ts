/**
 * A server that a test starts as a child process, watches, freezes and ends. The server ends with the test run, even if
 * the run is killed. This file signals only processes that it started.
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
  /** Private folder and working directory of the server. The watchdog removes it if the test run is killed. */
  readonly folder: string;
  readonly logFile: string;
  /** Run as this user instead of the current one. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

export interface WatchedProcess {
  readonly pid: number;
  isRunning(): boolean;
  /** Stops the process and all of its children with SIGSTOP: connections stay open, and nothing answers. */
  freeze(): Promise<void>;
  resume(): void;
  /** Sends the signal to the process, resumes it if it is frozen, and waits until it has ended. */
  end(signal: "SIGTERM" | "SIGINT"): Promise<void>;
  /** Sends SIGKILL to the process and all of its children, and waits until they have ended. */
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
 * The watchdog: a shell that waits for the end of its standard input. That is the end of the test run, even by SIGKILL.
 * Then the shell ends the server and removes its folder. It is killed as soon as the server has ended, so it never
 * signals a reused pid.
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

/** Pids of the direct children. All of PostgreSQL's backends are direct children, each in its own process group. */
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

/** State letter (proc_pid_stat(5)) and parent of a process; undefined if it does not exist. */
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

/** Whether a process is dead. A zombie counts as dead: it has closed its files, and only waits for its parent. */
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
 * A free port below the range that systems use for outgoing connections. Within that range a client that keeps trying a
 * dead server may get the server's own port and connect to itself, and then the server can never start again.
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

/** The folder of PATH or `folders` that has this program; undefined if there is none. */
export function folderOf(program: string, more: readonly string[] = []): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), ...more];
  return folders.find((folder) => folder !== "" && existsSync(`${folder}/${program}`));
}

/** A new folder, which is removed when this process ends. If the process is killed, the watchdog removes it. */
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
