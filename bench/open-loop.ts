import { call, connectAll, type Rpc } from "./call.ts";
import { h2load, type Timing } from "./h2load.ts";

const CONNECTIONS = 10;
/**
 * Maximum calls in progress on one connection. The measured rates never reach it, so that no call waits for an earlier
 * one.
 */
const CALLS_PER_CONNECTION = 100;

export interface OpenLoopOptions {
  /** Calls per second. */
  readonly rate: number;
  /** Time for which calls are sent before they count: a process that was idle first tidies its heap. */
  readonly leadSeconds: number;
  /** Time for which calls count. */
  readonly seconds: number;
  readonly isH2load: boolean;
}

/**
 * An open loop: calls at a fixed rate, whether or not earlier ones are answered, as independent callers make them. A
 * call's time runs from its sending to the last byte of its answer.
 *
 * @returns the milliseconds of each call that counts
 * @throws Error for the first wrong answer that a check finds
 */
export async function openLoop(port: number, rpc: Rpc, options: OpenLoopOptions): Promise<readonly number[]> {
  const { rate, leadSeconds, seconds, isH2load } = options;
  const calls = Math.round((rate * (leadSeconds + seconds)) / CONNECTIONS) * CONNECTIONS;
  const shape = { connections: CONNECTIONS, callsPerConnection: CALLS_PER_CONNECTION };
  const timings = isH2load
    ? (await h2load(port, rpc, { calls, perSecond: rate, ...shape })).timings
    : await fromNode(port, rpc, rate, calls);
  return timings.filter(({ atMs }) => atMs >= leadSeconds * 1000).map(({ tookMs }) => tookMs);
}

/** Sends by a timer of 1 ms: all calls that are due in one tick go together. Checks every answer. */
async function fromNode(port: number, rpc: Rpc, perSecond: number, total: number): Promise<readonly Timing[]> {
  const sessions = await connectAll(port, CONNECTIONS);
  const timings: Timing[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const start = performance.now();
  let sent = 0;

  async function send(): Promise<void> {
    const session = sessions[sent++ % CONNECTIONS]!;
    const sentAt = performance.now();
    await call(session, rpc);
    timings.push({ atMs: sentAt - start, tookMs: performance.now() - sentAt });
    if (timings.length === total) resolve();
  }
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond));
    while (sent < due) send().catch(reject);
  }, 1);
  try {
    await promise;
    return timings;
  } finally {
    clearInterval(timer);
    for (const session of sessions) session.close();
  }
}
