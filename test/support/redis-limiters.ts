/** Limiters on Redis servers of a test, and checks of their answers while Redis is healthy and while it is not. */
import { once } from "node:events";
import { Redis } from "ioredis";
import { expect } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import type { LimitDecision, LimitRequest } from "../../src/limits/limit.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { RedisConnection, type RedisTarget } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { type RedisServer, redisCommand, startRedis } from "./own-redis.ts";
import { recordingLog } from "./recording-log.ts";
import { redisAt } from "./redis-target.ts";
import { eventually } from "./until.ts";

export const BACK_WITHIN_MS = 2_000;
const log = recordingLog();
const closing: (() => void | Promise<void>)[] = [];
const renewals = new WeakMap<SharedLimiter, () => Promise<unknown>>();

/** Stops all that was started, in reverse order. For `afterEach`. */
export async function stopAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** Starts a Redis, which runs until `stopAll`. */
export async function startOwnRedis(args: readonly string[] = []): Promise<RedisServer> {
  const redis = await startRedis({ args });
  closing.push(() => redis.stop());
  return redis;
}

/** Makes a limiter, which `stopAll` closes. */
export async function limiterOn(target: RedisTarget, processes = 1): Promise<SharedLimiter> {
  const connection = new RedisConnection(target, log);
  const store = new RedisLimitStore({ connection });
  const limiter = new SharedLimiter({ store, clock: systemClock, log, replicas: processes, workers: 1 });
  closing.push(() => {
    limiter.close();
    connection.close();
  });
  renewals.set(limiter, () => once(connection.client, "reconnecting"));
  await connection.ready(2_000);
  return limiter;
}

/** Waits until the limiter has given up its connection for a new one. */
export async function renewed(limiter: SharedLimiter): Promise<void> {
  await renewals.get(limiter)!();
}

export const single = (port: number): RedisTarget => redisAt(`redis://127.0.0.1:${port}`);

let subjects = 0;
export const request = (perMinute = 1_000_000, subject = `subject ${++subjects}`): LimitRequest => ({
  subject,
  cost: 1,
  limits: [{ name: "", perMinute, perDay: undefined }],
});

interface Timed extends LimitDecision {
  readonly tookMs: number;
}

async function timed(limiter: SharedLimiter, asked = request()): Promise<Timed> {
  const startMs = performance.now();
  const decision = await limiter.decide(asked);
  return { ...decision, tookMs: performance.now() - startMs };
}

async function callsOf(limiter: SharedLimiter, calls: number): Promise<Timed[]> {
  const answers: Timed[] = [];
  for (let call = 0; call < calls; call++) answers.push(await timed(limiter));
  return answers;
}

/** Expects that each call is allowed and degraded. Only the first calls may wait for the 50 ms of silence. */
export async function expectDegraded(limiter: SharedLimiter): Promise<void> {
  const answers = await callsOf(limiter, 50);
  expect(answers.every(({ allowed, degraded }) => allowed && degraded)).toBe(true);
  const slow = answers.filter(({ tookMs }) => tookMs > 40);
  expect(slow.length).toBeLessThanOrEqual(4);
  for (const { tookMs } of slow) expect(tookMs).toBeLessThan(150);
  expect(limiter.isDegraded()).toBe(true);
}

export async function expectBack(limiter: SharedLimiter): Promise<void> {
  const sinceMs = performance.now();
  await eventually(async () => expect((await limiter.decide(request())).degraded).toBe(false));
  expect(performance.now() - sinceMs).toBeLessThan(BACK_WITHIN_MS);
}

/** The answer of the server to a client of the test. */
export async function told<T>(port: number, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const observer = new Redis({ port, lazyConnect: true });
  await observer.connect();
  try {
    return await ask(observer);
  } finally {
    observer.disconnect();
  }
}

/** Waits for a cluster node. It accepts writes some seconds after its start, and when it knows all slots. */
export async function clusterIsUp(port: number): Promise<void> {
  const script = `local info = redis.call('CLUSTER', 'INFO')
    return info:find('cluster_state:ok') and info:find('cluster_slots_ok:16384') and 1 or 0`;
  await eventually(async () => expect(await redisCommand(port, "EVAL", script, "0")).toBe("1"));
}

/** Expects 50 calls that are not degraded. On a busy machine Redis may pause for 50 ms, so it may repeat them. */
export async function expectHealthy(limiter: SharedLimiter): Promise<void> {
  await eventually(async () => {
    const answers = await callsOf(limiter, 50);
    expect(answers.every(({ allowed, degraded }) => allowed && !degraded)).toBe(true);
  });
}
