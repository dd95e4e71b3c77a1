/** A Redis of our own on a free loopback port, without persistence, for as long as a test needs it. */
import { connect } from "node:net";
import { join } from "node:path";
import {
  folderOf,
  privateFolder,
  removeFolder,
  startProcess,
  type WatchedProcess,
  withFreePort,
} from "./child-process.ts";

/** How many databases a test server has: enough that each test file can take one. */
export const REDIS_DATABASES = 1024;

export interface RedisServer extends AsyncDisposable {
  /** Of database 0. */
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now; another one after restart(). */
  readonly pid: number;
  /** Ends the server and removes its folder. Nothing else may follow. */
  stop(): Promise<void>;
  /** SIGKILL: connections are reset, later ones refused. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty unless `args` say that it keeps its data. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers; the kernel still accepts new ones. */
  freeze(): Promise<void>;
  resume(): void;
}

export interface RedisOptions {
  /** Further arguments of redis-server, such as `["--appendonly", "yes"]`. */
  readonly args?: readonly string[];
}

export function hasRedis(): boolean {
  return binary() !== undefined;
}

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const folder = privateFolder("latchkey-redis-");
  return withFreePort(async (port) => {
    const url = `redis://127.0.0.1:${port}`;
    const start = () => launch(folder, port, options.args ?? []);
    let server = await start();
    const stop = async () => {
      await server.end("SIGTERM");
      removeFolder(folder);
    };
    return {
      url,
      port,
      get pid() {
        return server.pid;
      },
      stop,
      kill: () => server.kill(),
      restart: async () => {
        await server.end("SIGTERM");
        server = await start();
      },
      freeze: () => server.freeze(),
      resume: () => server.resume(),
      [Symbol.asyncDispose]: stop,
    };
  });
}

async function launch(folder: string, port: number, args: readonly string[]): Promise<WatchedProcess> {
  const settings = { bind: "127.0.0.1", port, dir: folder, save: "", appendonly: "no", databases: REDIS_DATABASES };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const spec = {
    command: binary() ?? "redis-server",
    args: [...flags, ...args],
    folder,
    logFile: join(folder, "redis.log"),
  };
  return startProcess(spec, async () => (await redisCommand(port, "PING").catch(() => "")) === "PONG");
}

/**
 * One command on a connection of its own, to look at a server from outside. Only simple replies: a status, an integer,
 * or an error, which is thrown.
 */
export function redisCommand(port: number, ...words: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(1000, () => socket.destroy(new Error("no answer within 1 s")));
  socket.once("error", reject);
  socket.once("close", () => reject(new Error("connection closed before the answer")));
  socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join("")}`);
  socket.once("data", (data) => {
    const line = data.toString().split("\r\n")[0]!;
    if (line.startsWith("-")) reject(new Error(line.slice(1)));
    else resolve(line.slice(1));
    socket.destroy();
  });
  return promise;
}

function binary(): string | undefined {
  const folder = folderOf("redis-server", ["/usr/local/bin", "/opt/homebrew/bin"]);
  return folder && `${folder}/redis-server`;
}
