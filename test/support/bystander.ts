/** A harmless client beside a hostile one: its delays are the cost of an attack to others. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf } from "./clients.ts";
import type { Fleet } from "./fleet.ts";
import { type Answer, answerTo, quantile } from "./measurements.ts";

const CALLS = 400;
const EACH_MS = 2;

/** Makes a client of VerifyKey that means no harm, with a key and a credential of its own. @returns one call of it */
export async function bystanderOf(fleet: Fleet): Promise<() => Promise<Answer>> {
  const cast = await fleet.cast();
  const [key] = await cast.issue(1);
  const client = clientOf(fleet.service.address, KeyService, cast.verifier);
  return () => answerTo(() => client.verifyKey({ apiKey: key!.raw }, { timeoutMs: 10_000 }));
}

/** Makes a call every 2 ms, even if earlier ones have no answer yet, so that a stall delays every call within it. */
export async function callSteadily(call: () => Promise<Answer>, calls = CALLS): Promise<readonly Answer[]> {
  const answers: Promise<Answer>[] = [];
  for (let n = 0; n < calls; n++) {
    answers.push(call());
    await pause(EACH_MS);
  }
  return Promise.all(answers);
}

export function times(answers: readonly Answer[]): readonly number[] {
  return answers.map(({ tookMs }) => tookMs);
}

export function p99(answers: readonly Answer[]): number {
  return quantile(times(answers), 0.99);
}

/** The resident memory of a process, in MiB. */
export function rssMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

/** The longest delay of the service's event loop since the last call of this function, by the service's metrics. */
export async function longestStallMs(opsAddress: string): Promise<number> {
  const text = await (await fetch(`http://${opsAddress}/metrics`)).text();
  return Number(/^nodejs_eventloop_lag_max_seconds ([\d.e+-]+)$/m.exec(text)?.[1]) * 1000;
}
