import { call, connectAll, type Rpc } from "./call.ts";
import { CONNECTIONS } from "./closed-loop.ts";

/**
 * Calls at a fixed rate, whether or not earlier ones are answered, as callers do who don't know of each other. The
 * timer has a grain of 1 ms: what is due in one is sent together. A call's time runs from its sending to the last byte
 * of its answer, in a client in Node, which is part of every row alike.
 *
 * @param seconds how long calls are sent
 * @returns the milliseconds of each call
 * @throws Error for the first wrong answer
 */
export async function openLoop(port: number, rpc: Rpc, perSecond: number, seconds: number): Promise<number[]> {
  const sessions = await connectAll(port, CONNECTIONS);
  const total = Math.round(perSecond * seconds);
  const times: number[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const start = performance.now();
  let sent = 0;

  async function send(): Promise<void> {
    const session = sessions[sent++ % CONNECTIONS]!;
    const sentAt = performance.now();
    await call(session, rpc);
    times.push(performance.now() - sentAt);
    if (times.length === total) resolve();
  }
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond));
    while (sent < due) send().catch(reject);
  }, 1);
  try {
    await promise;
    return times;
  } finally {
    clearInterval(timer);
    for (const session of sessions) session.close();
  }
}

/** The value below which the given share of them lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
