/** Calls of a service on the data set, and how long they take. */
import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { call, connectAll, grpcRpc, type Rpc } from "../call.ts";
import { quantile } from "../rounds.ts";

/** The times of some calls, in ms. */
export interface Times {
  readonly calls: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

/** A call by gRPC. @param check throws if the answer is wrong */
export function rpcOf<M extends DescMethodUnary>(
  method: M,
  credential: string,
  request: MessageInitShape<M["input"]>,
  check: (answer: MessageShape<M["output"]>) => void = () => {},
): Rpc {
  const bytes = toBinary(method.input, create(method.input, request as never));
  return grpcRpc(`/${method.parent.typeName}/${method.name}`, credential, bytes, (message) =>
    check(fromBinary(method.output, message) as MessageShape<M["output"]>),
  );
}

/** Makes each call once, `concurrency` at a time. @throws Error if an answer is wrong */
export async function timesOf(port: number, rpcs: readonly Rpc[], concurrency = 1): Promise<Times> {
  let next = 0;
  return timeCalls(port, concurrency, () => rpcs[next++]);
}

/** Makes calls until `isOver`, `concurrency` at a time. */
export function timesUntil(port: number, rpcs: readonly Rpc[], concurrency: number, isOver: () => boolean) {
  let next = 0;
  return timeCalls(port, concurrency, () => (isOver() ? undefined : rpcs[next++ % rpcs.length]));
}

async function timeCalls(port: number, concurrency: number, take: () => Rpc | undefined): Promise<Times> {
  const sessions = await connectAll(port, Math.min(concurrency, 4));
  const tookMs: number[] = [];
  const startMs = performance.now();
  const caller = async (_: unknown, at: number) => {
    for (let rpc = take(); rpc !== undefined; rpc = take()) {
      const beginMs = performance.now();
      await call(sessions[at % sessions.length]!, rpc);
      tookMs.push(performance.now() - beginMs);
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, caller));
    const seconds = (performance.now() - startMs) / 1000;
    const [p50Ms, p99Ms] = [quantile(tookMs, 0.5), quantile(tookMs, 0.99)];
    return { calls: tookMs.length, p50Ms, p99Ms, perSecond: tookMs.length / seconds };
  } finally {
    for (const session of sessions) session.close();
  }
}
