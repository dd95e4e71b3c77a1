/** `npm start` as a user types it, on free ports and in a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export interface RunningService {
  /** host:port of the service. */
  readonly address: string;
  /** host:port of the operators' listener. */
  readonly opsAddress: string;
  /** Its output so far. */
  output(): string;
  /** Sends SIGTERM to npm and its children, and SIGKILL after 30 s; waits for the end. */
  stop(): Promise<void>;
}

const READY = /latchkey is ready[^\n]*/;
const READY_WITHIN_MS = 60_000;

/**
 * Starts the service and waits for its line `latchkey is ready`.
 *
 * @throws Error with its output if it ends before that, or is not ready within 60 s
 */
export async function startService(dataDir: string, before = ""): Promise<RunningService> {
  const [address, opsAddress] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const env = { ...settled(), LATCHKEY_LISTEN: address, LATCHKEY_OPS_LISTEN: opsAddress, LATCHKEY_DATA_DIR: dataDir };
  const child = spawn("npm", ["start"], { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = before;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));

  const end = performance.now() + READY_WITHIN_MS;
  while (!READY.test(output.slice(before.length))) {
    if (child.exitCode !== null || performance.now() > end) {
      await stop(child);
      throw new Error(`npm start did not get ready:\n${output}`);
    }
    await pause(20);
  }
  if (!READY.exec(output.slice(before.length))![0].includes(address)) {
    await stop(child);
    throw new Error(`the ready line does not name the address ${address}:\n${output}`);
  }
  return { address, opsAddress, output: () => output, stop: () => stop(child) };
}

/** The environment without the service's own settings, so that a developer's shell has no influence. */
function settled(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(LATCHKEY_|DATABASE_URL$|REDIS_|NODE_ENV$)/.test(name),
  );
  return Object.fromEntries(entries);
}

/** Signals the process group: npm is its leader because of `detached`, and its shell and node are in it. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  signalGroup(child.pid!, "SIGTERM");
  const patience = setTimeout(() => signalGroup(child.pid!, "SIGKILL"), 30_000);
  await ended;
  clearTimeout(patience);
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A port that is free when this resolves. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
