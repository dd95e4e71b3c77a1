/** A closed loop: a fixed number of callers. Each sends its next call when its last one is answered. */
import { call, connectAll, type Rpc } from "./call.ts";
import { h2load } from "./h2load.ts";

/** The calls of one run. */
export interface Load {
  /** All calls that the server answered, including those of the checks. */
  readonly calls: number;
  readonly seconds: number;
}

export const CONNECTIONS = 5;
export const CALLS_PER_CONNECTION = 10;

/** Repeats one call. @throws Error if a check finds a wrong answer */
export async function repeat(port: number, rpc: Rpc, calls: number, isH2load: boolean): Promise<Load> {
  if (!isH2load) return each(port, new Array<Rpc>(calls).fill(rpc), CONNECTIONS * CALLS_PER_CONNECTION);
  return h2load(port, rpc, { calls, connections: CONNECTIONS, callsPerConnection: CALLS_PER_CONNECTION });
}

/** Makes every call once, `concurrency` at a time, and checks every answer. */
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
