/** Calls that go on while a test changes what serves them. */
import { ConnectError } from "@connectrpc/connect";

import { letPass, until } from "./until.ts";

/** The calls of one kind of client. */
export interface Load {
  /** The errors of calls that failed. */
  readonly failures: unknown[];
  calls(): number;
  stop(): Promise<void>;
}

/**
 * Calls repeatedly until it is stopped.
 *
 * @param call makes one call, or several; a rejection is a failure
 * @param callers how many call at once
 * @param paceMs how long each rests between two calls
 */
export function load(call: () => Promise<unknown>, callers: number, paceMs: number): Load {
  const failures: unknown[] = [];
  let [calls, isOver] = [0, false];
  const caller = async () => {
    while (!isOver) {
      await call().catch((error: unknown) => failures.push(error));
      calls++;
      await letPass(paceMs, "calls come at a steady pace");
    }
  };
  const all = Array.from({ length: callers }, caller);
  return {
    failures,
    calls: () => calls,
    stop: async () => {
      isOver = true;
      await Promise.all(all);
    },
  };
}

/** Waits until each load has made more than this number of further calls. */
export async function goesOn(loads: readonly Load[], calls: number): Promise<void> {
  const before = loads.map((each) => each.calls());
  await until(() => loads.every((each, n) => each.calls() > before[n]! + calls), "the calls go on");
}

/**
 * The calls of a client that knows several processes and takes them in turn. It repeats a call that was never begun at
 * the next process: the connection was refused, or the process refused the stream (RFC 9113, 8.7), as it does with
 * streams after its GOAWAY.
 */
export function moving(addresses: readonly string[]): <T>(call: (address: string) => Promise<T>) => Promise<T> {
  let turn = 0;
  return async (call) => {
    const first = turn++;
    for (let tries = 1; ; tries++) {
      try {
        return await call(addresses[(first + tries) % addresses.length]!);
      } catch (error) {
        if (tries === addresses.length || !wasNeverBegun(ConnectError.from(error))) throw error;
      }
    }
  };
}

function wasNeverBegun(error: ConnectError): boolean {
  return /ECONNREFUSED|NGHTTP2_REFUSED_STREAM/.test(`${error.message} ${String(error.cause)}`);
}
