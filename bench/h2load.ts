/** Load by h2load. It needs a tenth of the CPU of a client in Node, and never stops to collect garbage. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Rpc } from "./call.ts";
import { withChecks } from "./checks.ts";

export interface H2loadOptions {
  /** The number of calls on all connections together. */
  readonly calls: number;
  readonly connections: number;
  /** Maximum calls in progress at a time on one connection. */
  readonly callsPerConnection: number;
  /**
   * Calls per second on all connections together. Absent: a caller sends its next call when the last one is answered.
   */
  readonly perSecond?: number;
}

export interface H2loadReport {
  /** All calls that the server answered meanwhile, including those of the checks. */
  readonly calls: number;
  readonly seconds: number;
  /**
   * The times of h2load's own calls, only at a fixed rate. Otherwise empty, because writing them takes CPU from the
   * load.
   */
  readonly timings: readonly Timing[];
}

/** One call at a fixed rate. */
export interface Timing {
  /** When the call was sent, from the time of the first call. */
  readonly atMs: number;
  /** The time from sending the call to the end of its answer. */
  readonly tookMs: number;
}

const run = promisify(execFile);

export function hasH2load(): boolean {
  return spawnSync("h2load", ["--version"]).error === undefined;
}

/** Repeats one call. @throws Error if a check finds a wrong answer */
export async function h2load(port: number, rpc: Rpc, options: H2loadOptions): Promise<H2loadReport> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bench-"));
  try {
    const [body, log] = [join(folder, "body"), join(folder, "log")];
    writeFileSync(body, rpc.body, { mode: 0o600 });
    const isTimed = options.perSecond !== undefined;
    const args = [...shapeOf(options), "-d", body, ...(isTimed ? [`--log-file=${log}`] : []), ...headersOf(rpc)];
    const { checks, result } = await withChecks(port, rpc, () =>
      run("h2load", [...args, `http://127.0.0.1:${port}${rpc.path}`]),
    );
    const seconds = secondsOf(result.stdout, options.calls);
    const timings = isTimed ? timingsOf(readFileSync(log, "utf8")) : [];
    return { calls: options.calls + checks, seconds, timings };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes calls until `over` resolves, each as soon as an earlier one is answered. Does not check answers. */
export async function h2loadUntil(
  over: Promise<unknown>,
  port: number,
  rpc: Rpc,
  shape: Pick<H2loadOptions, "connections" | "callsPerConnection">,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bench-"));
  try {
    const body = join(folder, "body");
    writeFileSync(body, rpc.body, { mode: 0o600 });
    const args = [...shapeOf({ ...shape, calls: MORE_THAN_CAN_BE_MADE }), "-d", body, ...headersOf(rpc)];
    const child = spawn("h2load", [...args, `http://127.0.0.1:${port}${rpc.path}`], { stdio: "ignore" });
    const closed = once(child, "close");
    await over;
    child.kill("SIGKILL");
    await closed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const MORE_THAN_CAN_BE_MADE = 100_000_000;
/** A connection sends all calls that are due in 10 ms at once. Opening connections one after the other spreads them. */
const SPREAD_MS = 10;

function shapeOf({ calls, connections, callsPerConnection, perSecond }: H2loadOptions): readonly string[] {
  const shape = ["-n", calls, "-c", connections, "-m", callsPerConnection, "-t", 1].map(String);
  if (perSecond === undefined) return shape;
  return [...shape, `--rps=${perSecond / connections}`, "-r", "1", `--rate-period=${SPREAD_MS / connections}ms`];
}

function headersOf({ headers }: Rpc): readonly string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
}

function secondsOf(report: string, calls: number): number {
  const perSecond = Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(report)?.[1]);
  const succeeded = Number(/status codes: (\d+) 2xx/.exec(report)?.[1]);
  if (succeeded !== calls || !(perSecond > 0)) throw new Error(`h2load made ${calls} calls and says:\n${report}`);
  return calls / perSecond;
}

/** A line of the log: the microsecond at which a call was sent, the HTTP status, the microseconds until its end. */
function timingsOf(log: string): readonly Timing[] {
  const lines = log.trimEnd().split("\n");
  const calls = lines.map((line) => line.split("\t").map(Number) as [sentUs: number, status: number, tookUs: number]);
  const startUs = calls.reduce((first, [sentUs]) => Math.min(first, sentUs), Number.POSITIVE_INFINITY);
  return calls.map(([sentUs, _, tookUs]) => ({ atMs: (sentUs - startUs) / 1000, tookMs: tookUs / 1000 }));
}
