/**
 * What one decision costs, against what most limiters do: two auto-pipelined INCR + EXPIRE, which count fixed windows and
 * so admit 2L. 50 concurrent callers, one Redis; both in turns in one run, so that the ratio holds on a busy machine.
 *
 *   node bench/limiter.ts [redis://127.0.0.1:6379]     without a URL it starts a redis-server of its own
 */
import { Redis } from "ioredis";
import { systemClock } from "../src/lib/clock.ts";
import { SharedLimiter } from "../src/limits/limiter.ts";
import { RedisConnection } from "../src/redis/connection.ts";
import { RedisLimitStore } from "../src/redis/limit-store.ts";
import { startRedis } from "../test/support/redis-server.ts";

const CALLERS = 50;
const CALLS = 50_000;
const ROUNDS = 5;
const SUBJECTS = 1_000;
const limits = [{ name: "", perMinute: 1_000_000, perDay: 1_000_000_000 }];

interface Cost {
  redisUs: number;
  nodeUs: number;
  wallUs: number;
}

const own = process.argv[2] === undefined ? await startRedis() : undefined;
const url = process.argv[2] ?? own!.url;
const log = { info() {}, warn() {}, error() {}, flush() {} };
const connection = new RedisConnection({ kind: "single", url }, log);
const pipelined = new Redis(url, { enableAutoPipelining: true });
const store = new RedisLimitStore({ connection });
const limiter = new SharedLimiter({ store, clock: systemClock, log, replicas: 1, workers: 1 });
if (!(await connection.ready(2_000))) throw new Error(`no Redis at ${url}`);

const CANDIDATES: Record<string, (call: number) => Promise<unknown>> = {
  "exact windows": (call) => limiter.decide({ subject: `subject ${call % SUBJECTS}`, cost: 1, limits }),
  "2 INCR + EXPIRE": (call) =>
    Promise.all(
      ["minute", "day"].flatMap((window) => {
        const key = `bench:${window}:${call % SUBJECTS}`;
        return [pipelined.incr(key), pipelined.expire(key, 60)];
      }),
    ),
};

const costs = new Map<string, Cost[]>();
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, decide] of Object.entries(CANDIDATES)) {
    const cost = await measure(decide);
    if (round > 0) costs.set(name, [...(costs.get(name) ?? []), cost]);
  }
}
const [exact, increments] = [...costs].map(([name, all]) => {
  const best = { redisUs: median(all, "redisUs"), nodeUs: median(all, "nodeUs"), wallUs: median(all, "wallUs") };
  const figures = `${best.redisUs.toFixed(1)} us of Redis, ${best.nodeUs.toFixed(1)} us of Node, ${best.wallUs.toFixed(1)} us of time`;
  process.stdout.write(`${name.padEnd(16)} ${figures} a decision\n`);
  return best;
});
const ratio = (unit: keyof Cost) => (exact![unit] / increments![unit]).toFixed(2);
process.stdout.write(
  `ratio            ${ratio("redisUs")} of Redis, ${ratio("nodeUs")} of Node, ${ratio("wallUs")} of time\n`,
);

limiter.close();
connection.close();
pipelined.disconnect();
await own?.stop();

async function measure(decide: (call: number) => Promise<unknown>): Promise<Cost> {
  let call = 0;
  const caller = async () => {
    while (call < CALLS) await decide(call++);
  };
  const redisBefore = await redisCpuUs();
  const nodeBefore = process.cpuUsage();
  const startMs = performance.now();
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const { user, system } = process.cpuUsage(nodeBefore);
  const wallUs = (performance.now() - startMs) * 1000;
  const redisUs = (await redisCpuUs()) - redisBefore;
  return { redisUs: redisUs / CALLS, nodeUs: (user + system) / CALLS, wallUs: wallUs / CALLS };
}

async function redisCpuUs(): Promise<number> {
  const info = await pipelined.info("cpu");
  const seconds = [...info.matchAll(/used_cpu_(?:sys|user):([\d.]+)/g)].map((match) => Number(match[1]));
  return seconds.reduce((sum, one) => sum + one, 0) * 1e6;
}

function median(all: readonly Cost[], unit: keyof Cost): number {
  return all.map((cost) => cost[unit]).sort((a, b) => a - b)[Math.floor(all.length / 2)]!;
}
