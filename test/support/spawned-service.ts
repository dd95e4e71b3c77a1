/** The service as operators run it: `src/main.ts` in a process of its own, with people and keys for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { adminCredentialFile } from "../../src/start/first-operator.ts";
import { privateFolder, removeFolder } from "./child-process.ts";
import { clientOf, PASSWORD } from "./clients.ts";

const FOLDER_PREFIX = "latchkey-service-";

/** A started process, which may not be ready yet. It ends with the test run at the latest. */
export interface SpawnedService extends AsyncDisposable {
  readonly pid: number;
  /** The text that it has written so far, to either stream. */
  output(): string;
  /** Waits until the service is ready. Returns `host:port`. @throws Error with its output if it ends before */
  ready(): Promise<string>;
  /** The same for the ops port. */
  opsReady(): Promise<string>;
  /** Waits until the process has ended. Returns the exit code; null for a signal. */
  ended(): Promise<number | null>;
  /** Sends a signal. Does nothing once the process has ended, so a timer may call it. */
  signal(signal: NodeJS.Signals): void;
  /** Sends SIGTERM, and waits until the process has ended. */
  stop(): Promise<void>;
}

/** A service that is ready. */
export interface ReadyService extends SpawnedService {
  readonly address: string;
  /** `host:port` of the ops port. */
  readonly opsAddress: string;
}

/**
 * An environment for processes that belong together: one data folder, one master key, free ports.
 *
 * @param settings further environment variables
 */
export function serviceEnvironment(settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return {
    ...process.env,
    LATCHKEY_DATA_DIR: privateFolder(FOLDER_PREFIX),
    LATCHKEY_MASTER_KEYS: `1:${randomBytes(32).toString("base64")}`,
    LATCHKEY_LISTEN: "127.0.0.1:0",
    LATCHKEY_OPS_LISTEN: "127.0.0.1:0",
    LATCHKEY_LOG_FORMAT: "json",
    LATCHKEY_DRAIN_SECONDS: "1",
    // All people of a test come from one address.
    LATCHKEY_HASHES_PER_ADDRESS: "100000",
    ...settings,
  };
}

/**
 * @param nodeFlags flags of Node itself, such as `--inspect`
 * @param root folder of the sources; by default those of this version
 */
export function spawnService(env: NodeJS.ProcessEnv, nodeFlags: readonly string[] = [], root = "."): SpawnedService {
  const child = run([...nodeFlags, join(root, "src/main.ts")], env);
  let output = "";
  const read = (chunk: Buffer) => {
    output += chunk;
  };
  child.stdout?.on("data", read);
  child.stderr?.on("data", read);
  const closed = once(child, "close");
  void closed.then(releaseFolder(env.LATCHKEY_DATA_DIR));

  async function readiness(): Promise<{ readonly address: string; readonly ops: string }> {
    for (;;) {
      const line = output.split("\n").find((each) => each.includes("latchkey is ready"));
      if (line !== undefined) return readyLine(line);
      if (!isRunning(child)) throw new Error(`the service ended before it was ready:\n${output}`);
      await pause(10);
    }
  }
  async function stop(): Promise<void> {
    if (isRunning(child)) child.kill("SIGTERM");
    await closed;
  }
  return {
    pid: child.pid!,
    output: () => output,
    ready: async () => (await readiness()).address,
    opsReady: async () => (await readiness()).ops,
    ended: async () => {
      await closed;
      return child.exitCode;
    },
    signal: (signal) => void child.kill(signal),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Starts a service and waits until it is ready. @throws Error with its output if it can't start */
export async function startService(
  env: NodeJS.ProcessEnv,
  nodeFlags?: readonly string[],
  root?: string,
): Promise<ReadyService> {
  const service = spawnService(env, nodeFlags, root);
  return Object.assign(service, { address: await service.ready(), opsAddress: await service.opsReady() });
}

/** In either format of the log. */
function readyLine(line: string): { readonly address: string; readonly ops: string } {
  if (line.startsWith("{")) return JSON.parse(line);
  const [, address = "", ops = ""] = / address=(\S+) ops=(\S+)/.exec(line) ?? [];
  return { address, ops };
}

/** Runs `npm run bootstrap`, which applies the schema. Returns the first operator's credential. */
export async function bootstrapOperator(env: NodeJS.ProcessEnv, root = "."): Promise<string> {
  const child = run([join(root, "src/cli/bootstrap.ts")], env);
  let output = "";
  let faults = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    output += chunk;
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    faults += chunk;
  });
  await once(child, "close");
  if (!/^kit_svc_[0-9A-Za-z]{65}\n$/.test(output)) throw new Error(`bootstrap failed:\n${output}${faults}`);
  return output.trim();
}

/** The credential of the first operator, which the start of a development service wrote. @throws Error without one */
export function firstOperatorOf(env: NodeJS.ProcessEnv): string {
  return readFileSync(adminCredentialFile(env.LATCHKEY_DATA_DIR!), "utf8").trim();
}

/** An issued key. */
export interface IssuedKey {
  readonly id: string;
  readonly raw: string;
}

/** The people, services and keys that a test of verification needs. */
export interface Cast {
  /** The credential with scope `admin`. */
  readonly admin: string;
  /** The credential with scope `verify`. */
  readonly verifier: string;
  /** A person's access token, for management by the owner. */
  readonly ownerToken: string;
  /** Issues keys of that person, each with a limit of `perMinute` calls a minute. */
  issue(count: number, perMinute?: number): Promise<readonly IssuedKey[]>;
}

/** Makes a person and a verifying service at `address`. More than 100 keys need LATCHKEY_KEYS_PER_OWNER. */
export async function castAt(address: string, admin: string): Promise<Cast> {
  const operator = clientOf(address, AdminService, admin);
  const management = clientOf(address, KeyService, admin);
  const { secret } = await insist(() => operator.issueServiceCredential({ name: "verifier", scopes: ["verify"] }));
  const { user, tokens } = await insist(() => {
    const email = `${randomBytes(6).toString("hex")}@example.com`;
    return clientOf(address, AuthService).register({ email, password: PASSWORD });
  });
  return {
    admin,
    verifier: secret,
    ownerToken: tokens!.accessToken,
    async issue(count, perMinute = 1_000_000) {
      const keys: IssuedKey[] = [];
      for (let n = 0; n < count; n++) {
        const limits = { perMinute, perDay: 1_000_000 };
        const { key, apiKey } = await insist(() =>
          management.issueKey({ name: `key ${n}`, ownerId: user!.id, limits }),
        );
        keys.push({ id: key!.id, raw: apiKey });
      }
      return keys;
    },
  };
}

/** Repeats a call that is UNAVAILABLE, at most 10 times: on a busy machine the database may be slow for a moment. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (attempt === 10 || ConnectError.from(error).code !== Code.Unavailable) throw error;
      await pause(200);
    }
  }
}

function run(args: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("close", () => process.off("exit", kill));
  return child;
}

/** Number of services that run on each folder of `serviceEnvironment`. */
const users = new Map<string, number>();

/** Counts one more service on a folder. The returned function counts one less, and removes the folder at 0. */
function releaseFolder(folder = ""): () => void {
  users.set(folder, (users.get(folder) ?? 0) + 1);
  return () => {
    const left = users.get(folder)! - 1;
    users.set(folder, left);
    if (left === 0 && folder.includes(FOLDER_PREFIX)) removeFolder(folder);
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
