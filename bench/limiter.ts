/**
 * The cost of one decision, compared with that of most limiters: two auto-pipelined INCR + EXPIRE. They count fixed
 * windows, and so admit twice the limit. 50 concurrent callers use one Redis. The two candidates run in turns, so that
 * the ratio holds on a busy machine.
 */
import { Redis } from "ioredis";
import { systemClock } from "../src/lib/clock.ts";
import { SharedLimiter } from "../src/limits/limiter.ts";
import { RedisConnection } from "../src/redis/connection.ts";
import { RedisLimitStore } from "../src/redis/limit-store.ts";
import { redisAt } from "../test/support/redis-target.ts";
import { redisCpuUs } from "./cpu.ts";
import { Disturbed, undisturbed } from "./disturbed.ts";
import { median, type Rounds } from "./rounds.ts";

interface Cost {
  /** CPU of Redis. */
  readonly redisUs: number;
  /** CPU of the deciding process. */
  readonly nodeUs: number;
  readonly wallUs: number;
}

/** The cost of one decision, in microseconds. */
export interface DecisionCost extends Cost {
  readonly name: string;
  readonly redisUsRounds: Rounds;
}

type Decide = (call: number) => Promise<unknown>;

const CALLERS = 50;
const SUBJECTS = 1_000;
const LIMITS = [{ name: "", perMinute: 1_000_000, perDay: 1_000_000_000 }];
const SILENT = { info() {}, warn() {}, error() {}, flush() {} };

export interface LimiterOptions {
  /** The URL of Redis. */
  readonly url: string;
  readonly rounds: number;
  /** The number of calls of one candidate in one round. */
  readonly calls: number;
  readonly progress: (line: string) => void;
}

/**
 * The medians of the rounds: our script first, then the increments. Empty if the machine disturbed every try of a
 * candidate.
 */
export async function measureLimiter(options: LimiterOptions): Promise<readonly DecisionCost[]> {
  const connection = new RedisConnection(redisAt(options.url), SILENT);
  const pipelined = new Redis(options.url, { enableAutoPipelining: true });
  const store = new RedisLimitStore({ connection });
  const limiter = new SharedLimiter({ store, clock: systemClock, log: SILENT, replicas: 1, workers: 1 });
  try {
    if (!(await connection.ready(2_000))) throw new Error(`no Redis at ${options.url}`);
    const candidates: readonly (readonly [name: string, decide: Decide])[] = [
      ["limiter's script, exact windows", (call) => decideExactly(limiter, call)],
      ["2 x INCR + EXPIRE, auto-pipelined", (call) => increment(pipelined, call)],
    ];
    const costs = candidates.map((): (Cost | undefined)[] => []);
    for (let round = 0; round <= options.rounds; round++) {
      for (const [index, [, decide]] of candidates.entries()) {
        const cost = await undisturbed(options.progress, () => measure(pipelined, decide, options.calls));
        if (round > 0) costs[index]!.push(cost);
      }
    }
    if (costs.some((all) => all.every((cost) => cost === undefined))) return [];
    return candidates.map(([name], index) => ({ name, ...medianOf(costs[index]!) }));
  } finally {
    limiter.close();
    connection.close();
    pipelined.disconnect();
  }
}

function medianOf(rounds: readonly (Cost | undefined)[]): Omit<DecisionCost, "name"> {
  const middle = (unit: keyof Cost) => median(rounds.flatMap((cost) => cost?.[unit] ?? []));
  const redisUsRounds = rounds.map((cost) => cost?.redisUs);
  return { redisUs: middle("redisUs"), redisUsRounds, nodeUs: middle("nodeUs"), wallUs: middle("wallUs") };
}

async function decideExactly(limiter: SharedLimiter, call: number): Promise<void> {
  const request = { subject: `subject ${call % SUBJECTS}`, cost: 1, limits: LIMITS };
  const { allowed, degraded } = await limiter.decide(request);
  if (degraded) throw new Disturbed("decided without Redis");
  if (!allowed) throw new Error("the limiter refused a call that its limits allow");
}

function increment(redis: Redis, call: number): Promise<unknown> {
  return Promise.all(
    ["minute", "day"].flatMap((window) => {
      const key = `bench:${window}:${call % SUBJECTS}`;
      return [redis.incr(key), redis.expire(key, 60)];
    }),
  );
}

async function measure(redis: Redis, decide: Decide, calls: number): Promise<Cost> {
  let call = 0;
  const caller = async () => {
    while (call < calls) await decide(call++);
  };
  const redisBefore = await redisCpuUs(redis);
  const nodeBefore = process.cpuUsage();
  const startMs = performance.now();
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const { user, system } = process.cpuUsage(nodeBefore);
  const wallUs = (performance.now() - startMs) * 1000;
  const redisUs = (await redisCpuUs(redis)) - redisBefore;
  return { redisUs: redisUs / calls, nodeUs: (user + system) / calls, wallUs: wallUs / calls };
}
