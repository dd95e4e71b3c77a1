/** A Redis of a test, on a free loopback port and without persistence. */
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

/** Number of databases of a test server: enough for every test file. */
export const REDIS_DATABASES = 1024;

export interface RedisServer extends AsyncDisposable {
  /** The URL of database 0. */
  readonly url: string;
  readonly port: number;
  /** Pid of the running process. restart() changes it. */
  readonly pid: number;
  /** Ends the server and removes its folder. Nothing else may follow. */
  stop(): Promise<void>;
  /** SIGKILL: connections are reset, and new ones refused. */
  kill(): Promise<void>;
  /** Starts the server again on the same port, empty unless `args` make it keep its data. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open, and nothing answers. The kernel still accepts new ones. */
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
 * Sends one command on a connection of its own. It understands only simple replies: a status, an integer, or an error,
 * which it throws.
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
