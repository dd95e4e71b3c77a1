import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { privateFolder, removeFolder, startProcess, withFreePort } from "../test/support/child-process.ts";
import { startCommand } from "../test/support/start-command.ts";

/** A server under test: a process of its own, so that its CPU time is its own. */
export interface Server {
  readonly port: number;
  readonly pid: number;
  /** Its working directory, which is removed with the server. */
  readonly folder: string;
  stop(): Promise<void>;
  /** The last lines that it printed. */
  lastWords(): string;
}

const LAST_WORDS = 10;

/** This Node with the flags of `npm start`, for all servers: the flags decide the cost of garbage collection. */
export const NODE: readonly string[] = [process.execPath, ...startCommand().flags];

/**
 * Starts a server on a free port and waits until it is ready and accepts connections.
 *
 * @param words the command line
 * @param environment its whole environment besides PATH, so that a developer's shell has no influence
 */
export function startServer(
  words: (port: number) => readonly string[],
  environment: (port: number, folder: string) => Readonly<Record<string, string>> = () => ({}),
  isReady: (folder: string) => boolean = () => true,
): Promise<Server> {
  const folder = privateFolder("latchkey-bench-");
  return withFreePort(async (port) => {
    const settings = Object.entries({ PATH: process.env.PATH ?? "", ...environment(port, folder) });
    const variables = settings.map(([name, value]) => `${name}=${value}`);
    const [command, ...args] = ["env", "-i", ...variables, ...words(port)];
    const spec = { command: command!, args, folder, logFile: join(folder, "log") };
    const child = await startProcess(spec, async () => isReady(folder) && accepts(port));
    const stop = async () => {
      await child.end("SIGTERM");
      removeFolder(folder);
    };
    const lastWords = () => readFileSync(spec.logFile, "utf8").trimEnd().split("\n").slice(-LAST_WORDS).join("\n");
    return { port, pid: child.pid, folder, stop, lastWords };
  });
}

/** Starts one of the servers of bench/servers/. */
export function startPeer(file: string): Promise<Server> {
  const path = join(import.meta.dirname, "servers", file);
  return startServer((port) => [...NODE, path, String(port)]);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
