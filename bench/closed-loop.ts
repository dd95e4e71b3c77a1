/**
 * As many calls as the server can answer, 50 at a time: h2load where it is installed, because it takes a tenth of the
 * CPU that a client in Node takes, and else a client in Node.
 */
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ClientHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { call, connectAll, type Rpc } from "./call.ts";

/** What was asked and answered. */
export interface Load {
  /** Every call that the server has answered, the checking ones included. */
  readonly calls: number;
  readonly seconds: number;
}

export const CONNECTIONS = 5;
export const CALLS_PER_CONNECTION = 10;
/** Between two calls whose answers are looked at while h2load runs. */
const CHECK_EVERY_MS = 20;

const run = promisify(execFile);

export function hasH2load(): boolean {
  return spawnSync("h2load", ["--version"]).error === undefined;
}

/** The same call again and again. @throws Error where an answer that was looked at is not the expected one */
export async function repeat(port: number, rpc: Rpc, calls: number, isH2load: boolean): Promise<Load> {
  if (!isH2load) return each(port, new Array<Rpc>(calls).fill(rpc), CONNECTIONS * CALLS_PER_CONNECTION);
  const [session] = await connectAll(port, 1);
  const checker = new Checker(session!, rpc);
  try {
    const load = await h2load(port, rpc, calls);
    return { calls: load.calls + (await checker.stop()), seconds: load.seconds };
  } finally {
    session!.close();
  }
}

/** Every call once, `concurrency` at a time, every answer looked at. */
export async function each(port: number, rpcs: readonly Rpc[], concurrency: number): Promise<Load> {
  const sessions = await connectAll(port, CONNECTIONS);
  const start = performance.now();
  let next = 0;
  const caller = async (_: unknown, index: number) => {
    while (next < rpcs.length) await call(sessions[index % CONNECTIONS]!, rpcs[next++]!);
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, caller));
    return { calls: rpcs.length, seconds: (performance.now() - start) / 1000 };
  } finally {
    for (const session of sessions) session.close();
  }
}

/** h2load counts HTTP 200 as success, also where a trailer says otherwise. So some calls are made beside it and read. */
class Checker {
  #calls = 0;
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(session: ClientHttp2Session, rpc: Rpc) {
    this.#done = this.#loop(session, rpc);
    // Reported by stop().
    this.#done.catch(() => {});
  }

  /** How many calls were made. @throws Error for the first wrong answer */
  async stop(): Promise<number> {
    this.#isOver = true;
    await this.#done;
    return this.#calls;
  }

  async #loop(session: ClientHttp2Session, rpc: Rpc): Promise<void> {
    do {
      await call(session, rpc);
      this.#calls++;
      await pause(CHECK_EVERY_MS);
    } while (!this.#isOver);
  }
}

async function h2load(port: number, rpc: Rpc, calls: number): Promise<Load> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bench-"));
  try {
    const body = join(folder, "body");
    writeFileSync(body, rpc.body, { mode: 0o600 });
    const headers = Object.entries(rpc.headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    const shape = ["-n", calls, "-c", CONNECTIONS, "-m", CALLS_PER_CONNECTION, "-t", 1].map(String);
    const { stdout } = await run("h2load", [
      ...shape,
      ...["-d", body],
      ...headers,
      `http://127.0.0.1:${port}${rpc.path}`,
    ]);
    return readReport(stdout, calls);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(report: string, calls: number): Load {
  const perSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(report)?.[1]);
  const succeeded = Number(/status codes: (\d+) 2xx/.exec(report)?.[1]);
  if (succeeded !== calls || !(perSecond > 0)) throw new Error(`h2load made ${calls} calls and says:\n${report}`);
  return { calls, seconds: calls / perSecond };
}
