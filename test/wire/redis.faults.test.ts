/** What the limiter does when Redis dies, freezes, refuses or is slow, and when this process stalls: with real Redis. */
import { once } from "node:events";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import type { LimitDecision, LimitRequest } from "../../src/limits/limit.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { type RedisClusterTarget, RedisConnection, type RedisTarget } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { recordingLog } from "../support/recording-log.ts";
import { type RedisServer, redisCommand, startRedis } from "../support/redis-server.ts";
import { canStart } from "../support/servers.ts";

const BACK_WITHIN_MS = 2_000;
const log = recordingLog();
const closing: (() => void | Promise<void>)[] = [];
/** Waits until the limiter's connection has been given up for a new one. */
const renewals = new WeakMap<SharedLimiter, () => Promise<unknown>>();

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(args: readonly string[] = []): Promise<RedisServer> {
  const redis = await startRedis({ args });
  closing.push(() => redis.stop());
  return redis;
}

async function limiterOn(target: RedisTarget, processes = 1): Promise<SharedLimiter> {
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

const single = (port: number): RedisTarget => ({ kind: "single", url: `redis://127.0.0.1:${port}` });

let subjects = 0;
const request = (perMinute = 1_000_000, subject = `subject ${++subjects}`): LimitRequest => ({
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

/** Each call is answered, allowed and degraded; the first ones after the silence of 50 ms, all others without it. */
async function expectDegraded(limiter: SharedLimiter): Promise<void> {
  const answers = await callsOf(limiter, 50);
  expect(answers.every(({ allowed, degraded }) => allowed && degraded)).toBe(true);
  const slow = answers.filter(({ tookMs }) => tookMs > 40);
  expect(slow.length).toBeLessThanOrEqual(4);
  for (const { tookMs } of slow) expect(tookMs).toBeLessThan(150);
  expect(limiter.isDegraded()).toBe(true);
}

async function expectBack(limiter: SharedLimiter): Promise<void> {
  const sinceMs = performance.now();
  await vi.waitFor(async () => expect((await limiter.decide(request())).degraded).toBe(false), {
    timeout: BACK_WITHIN_MS + 1_000,
    interval: 10,
  });
  expect(performance.now() - sinceMs).toBeLessThan(BACK_WITHIN_MS);
}

/** What somebody who looks at the server from outside is told. */
async function told<T>(port: number, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const observer = new Redis({ port, lazyConnect: true });
  await observer.connect();
  try {
    return await ask(observer);
  } finally {
    observer.disconnect();
  }
}

/** A node waits some seconds after its start before it takes writes, and until it has heard of all slots. */
async function clusterIsUp(port: number): Promise<void> {
  const script = `local info = redis.call('CLUSTER', 'INFO')
    return info:find('cluster_state:ok') and info:find('cluster_slots_ok:16384') and 1 or 0`;
  await vi.waitFor(async () => expect(await redisCommand(port, "EVAL", script, "0")).toBe("1"), { timeout: 20_000 });
}

/** On a busy machine Redis itself may not run for 50 ms; then the next 50 calls count. */
async function expectHealthy(limiter: SharedLimiter): Promise<void> {
  await vi.waitFor(
    async () => {
      const answers = await callsOf(limiter, 50);
      expect(answers.every(({ allowed, degraded }) => allowed && !degraded)).toBe(true);
    },
    { timeout: 5_000 },
  );
}

describe.skipIf(!canStart("redis"))(
  "every call is answered, and Redis is used again within 2 s of its return, when it",
  () => {
    it("is frozen", async () => {
      const redis = await start();
      const limiter = await limiterOn(single(redis.port));
      await expectHealthy(limiter);
      await redis.freeze();
      await expectDegraded(limiter);
      redis.resume();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is frozen for so long that its connection is given up", async () => {
      const redis = await start();
      const limiter = await limiterOn(single(redis.port));
      await redis.freeze();
      await expectDegraded(limiter);
      await renewals.get(limiter)!();
      redis.resume();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is killed, and has forgotten its windows and the script", async () => {
      const redis = await start();
      const limiter = await limiterOn(single(redis.port));
      await expectHealthy(limiter);
      await redis.kill();
      await expectDegraded(limiter);
      await redis.restart();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is not there at the start", async () => {
      const redis = await start();
      await redis.kill();
      const limiter = await limiterOn(single(redis.port));
      await expectDegraded(limiter);
      await redis.restart();
      await expectBack(limiter);
    });

    it("is slower than 50 ms", async () => {
      const redis = await start();
      await using proxy = await startFaultProxy(redis.port);
      const limiter = await limiterOn(single(proxy.port));
      await expectHealthy(limiter);
      proxy.delay(500);
      await expectDegraded(limiter);
      await proxy.restore();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is behind a wire that swallows everything, also the end of connections", async () => {
      const redis = await start();
      await using proxy = await startFaultProxy(redis.port);
      const limiter = await limiterOn(single(proxy.port));
      await expectHealthy(limiter);
      proxy.hang();
      await expectDegraded(limiter);
      const before = proxy.accepted();
      await vi.waitFor(() => expect(proxy.accepted()).toBeGreaterThan(before), { timeout: 10_000 });
      await proxy.restore();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is read-only", async () => {
      const redis = await start();
      const limiter = await limiterOn(single(redis.port));
      await redisCommand(redis.port, "REPLICAOF", "127.0.0.1", "1");
      await expectDegraded(limiter);
      await redisCommand(redis.port, "REPLICAOF", "NO", "ONE");
      await expectBack(limiter);
    });

    it("is replaced by a replica that is empty, to which all windows are lost", async () => {
      const [redis, empty] = [await start(), await start()];
      const limiter = await limiterOn(single(redis.port));
      const asked = request(3);
      const calls = Array.from({ length: 5 }, () => ({ ...asked }));
      const admitted = async () => (await limiter.decideAll(calls)).filter(({ allowed }) => allowed).length;
      expect(await admitted()).toBe(3);
      await redisCommand(redis.port, "REPLICAOF", "127.0.0.1", `${empty.port}`);
      await expectDegraded(limiter);
      await vi.waitFor(async () => expect(await redisCommand(redis.port, "DBSIZE")).toBe("0"), { timeout: 10_000 });
      await redisCommand(redis.port, "REPLICAOF", "NO", "ONE");
      await expectBack(limiter);
      // L more at most, by a limiter that does not remember that the window was full.
      const other = await limiterOn(single(redis.port));
      expect((await other.decideAll(calls)).filter(({ allowed }) => allowed).length).toBe(3);
      expect((await other.decideAll(calls)).filter(({ allowed }) => allowed).length).toBe(0);
    });

    it("is out of memory", async () => {
      const redis = await start();
      const limiter = await limiterOn(single(redis.port));
      await redisCommand(redis.port, "CONFIG", "SET", "maxmemory", "1");
      await expectDegraded(limiter);
      await redisCommand(redis.port, "CONFIG", "SET", "maxmemory", "0");
      await expectBack(limiter);
    });

    it("is loading its data", async () => {
      const redis = await start([...["--appendonly", "yes"], ...["--key-load-delay", "20"]]);
      const limiter = await limiterOn(single(redis.port));
      await redisCommand(redis.port, "EVAL", "for i = 1, 30000 do redis.call('SET', i, i) end", "0");
      const loaded = redis.restart();
      await vi.waitFor(() => expect(redisCommand(redis.port, "PING")).rejects.toThrow("LOADING"), {
        timeout: 10_000,
        interval: 5,
      });
      await expectDegraded(limiter);
      await expect(redisCommand(redis.port, "PING")).rejects.toThrow("LOADING");
      await loaded;
      await expectBack(limiter);
    });

    it("is a node of a cluster that keeps no slots", async () => {
      const redis = await start(["--cluster-enabled", "yes"]);
      const limiter = await limiterOn(single(redis.port));
      await expectDegraded(limiter);
      await redisCommand(redis.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383");
      await clusterIsUp(redis.port);
      await expectBack(limiter);
    });
  },
);

describe.skipIf(!canStart("redis"))("a script that Redis forgot", () => {
  it("is sent again, and no call is degraded or counted twice for it", async () => {
    const redis = await start();
    const limiter = await limiterOn(single(redis.port));
    await expectHealthy(limiter);
    const asked = request(10);
    for (let round = 0; round < 5; round++) {
      await redisCommand(redis.port, "SCRIPT", "FLUSH");
      const before = await evalCalls(redis.port);
      const decisions = await limiter.decideAll([asked, asked]);
      expect(decisions).toMatchObject([
        { allowed: true, degraded: false, windows: [{ remaining: 9 - 2 * round }] },
        { allowed: true, degraded: false, windows: [{ remaining: 8 - 2 * round }] },
      ]);
      // The fault happened: the script went out as a whole.
      expect((await evalCalls(redis.port)) - before).toBe(1);
    }
    expect((await limiter.decide(asked)).allowed).toBe(false);
  });

  /** How often Redis was sent a script's text. It has no figure before the first time. */
  const evalCalls = (port: number) =>
    told(port, async (redis) => Number(/cmdstat_eval:calls=(\d+)/.exec(await redis.info("commandstats"))?.[1] ?? 0));
});

describe.skipIf(!canStart("redis"))("a stall of this process", () => {
  const stall = (ms: number) => {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs);
  };

  it("is not taken for an outage of Redis", async () => {
    const redis = await start();
    const limiter = await limiterOn(single(redis.port));
    await limiter.decide(request());
    for (let round = 0; round < 10; round++) {
      const order: string[] = [];
      const decision = Promise.resolve(limiter.decide(request())).then(({ degraded }) =>
        order.push(degraded ? "degraded" : "answer"),
      );
      // After the group went out, and with a timer of 50 ms that is due at the end of the stall.
      setImmediate(() => {
        setTimeout(() => order.push("timer"), 50);
        stall(200);
      });
      await decision;
      expect(order).toEqual(["timer", "answer"]);
    }
    expect(limiter.isDegraded()).toBe(false);
  });
});

describe.skipIf(!canStart("redis"))("several limiters", () => {
  const admitted = async (limiters: readonly SharedLimiter[], asked: LimitRequest, callers: number) => {
    const decisions = await Promise.all(
      limiters.flatMap((limiter) => Array.from({ length: callers }, () => limiter.decide(asked))),
    );
    return decisions.filter(({ allowed }) => allowed).length;
  };

  it("admit together exactly L, with 64 callers each", async () => {
    const redis = await start();
    const limiters = await Promise.all([1, 2, 3].map(() => limiterOn(single(redis.port), 3)));
    const asked = request(100);
    expect(await admitted(limiters, asked, 64)).toBe(100);
    expect(await admitted(limiters, asked, 64)).toBe(0);
  });

  it("admit at most (processes + 1) * L in a window that touches an outage, and L more after FLUSHALL", async () => {
    const redis = await start();
    const limiters = await Promise.all([1, 2, 3].map(() => limiterOn(single(redis.port), 3)));
    const asked = request(20);
    expect(await admitted(limiters, asked, 64)).toBe(20);
    await redis.kill();
    await Promise.all(limiters.map(expectDegraded));
    // A full window is believed for up to 5 s; another limit shows what the share alone admits.
    expect(await admitted(limiters, request(20), 64)).toBe(3 * 7);
    await redis.restart();
    await Promise.all(limiters.map(expectBack));
    const fresh = request(20);
    expect(await admitted(limiters, fresh, 64)).toBe(20);
    await redisCommand(redis.port, "FLUSHALL");
    expect(await admitted(limiters, { ...fresh, cost: 2 }, 64)).toBe(10);
    expect(await admitted(limiters, { ...fresh, cost: 3 }, 64)).toBe(0);
  });
});

describe.skipIf(!canStart("redis"))("a cluster", () => {
  async function startCluster(): Promise<readonly [RedisServer, RedisServer]> {
    const args = [...["--cluster-enabled", "yes"], ...["--cluster-require-full-coverage", "no"]];
    const nodes = [await start(args), await start(args)] as const;
    await redisCommand(nodes[0].port, "CLUSTER", "ADDSLOTSRANGE", "0", "8191");
    await redisCommand(nodes[1].port, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383");
    await redisCommand(nodes[0].port, "CLUSTER", "MEET", "127.0.0.1", `${nodes[1].port}`);
    for (const { port } of nodes) await clusterIsUp(port);
    return nodes;
  }
  const nodeId = (port: number) => told(port, async (redis) => `${await redis.cluster("MYID")}`);
  const movedErrors = (port: number) =>
    told(port, async (redis) => Number(/errorstat_MOVED:count=(\d+)/.exec(await redis.info("errorstats"))?.[1] ?? 0));
  /** Of the first node, those that hold nothing. */
  const emptySlots = (port: number) =>
    told(port, async (redis) => {
      const slots = Array.from({ length: 8192 }, (_, slot) => slot);
      const counts = redis.pipeline();
      for (const slot of slots) counts.cluster("COUNTKEYSINSLOT", slot);
      const answers = await counts.exec();
      return slots.filter((slot) => answers![slot]![1] === 0);
    });
  /** All at once, before the limiter looks again who has which slot, as it does each second. */
  const giveSlots = (port: number, slots: readonly number[], to: string) =>
    told(port, async (redis) => {
      const gifts = redis.pipeline();
      for (const slot of slots) gifts.cluster("SETSLOT", slot, "NODE", to);
      const answers = await gifts.exec();
      expect(answers!.map(([error]) => error)).toEqual(slots.map(() => null));
    });
  const target = (nodes: readonly RedisServer[]): RedisClusterTarget => ({
    kind: "cluster",
    nodes: nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
  });

  it("that wants a password gets it at each node, and one that is not told it degrades all", async () => {
    const nodes = await startCluster();
    for (const { port } of nodes) await redisCommand(port, "CONFIG", "SET", "requirepass", "a password");
    // The fault happened: whoever has no password is refused.
    for (const { port } of nodes) await expect(redisCommand(port, "GET", "a")).rejects.toThrow("NOAUTH");
    // The second node is found by the first.
    const named = target(nodes.slice(0, 1));
    const limiter = await limiterOn({ ...named, password: "a password" });
    await expectHealthy(limiter);
    await expectDegraded(await limiterOn(named));
  });

  it("that moves slots to another node is followed there, and no call is degraded for it", async () => {
    const nodes = await startCluster();
    const limiter = await limiterOn(target(nodes));
    await expectHealthy(limiter);
    const ids: string[] = [];
    for (const { port } of nodes) ids.push(await nodeId(port));
    // Slots without keys may change hands at once.
    const moving = await emptySlots(nodes[0].port);
    for (const { port } of [nodes[1], nodes[0]]) await giveSlots(port, moving, ids[1]!);
    const subjects = Array.from({ length: 24 }, (_, at) => request(5, `moved ${at}`));
    const decisions = await limiter.decideAll(subjects);
    // The fault happened: some of them went to a node that sent them on.
    expect(await movedErrors(nodes[0].port)).toBeGreaterThan(0);
    expect(decisions.filter(({ degraded }) => degraded)).toEqual([]);
    expect(decisions.map(({ windows }) => windows[0]!.remaining)).toEqual(subjects.map(() => 4));
  });

  it("that has half of a subject's windows on another node degrades that subject alone", async () => {
    const nodes = await startCluster();
    const limiter = await limiterOn(target(nodes));
    await expectHealthy(limiter);
    const [first, second] = [await nodeId(nodes[0].port), await nodeId(nodes[1].port)];
    const both = (subject: string): LimitRequest => {
      const { limits, ...rest } = request(1000, subject);
      return { ...rest, limits: [...limits, { name: "named", perMinute: 1000, perDay: undefined }] };
    };
    const subjects = Array.from({ length: 30 }, (_, at) => `torn ${at}`);
    for (const { port } of nodes) await redisCommand(port, "FLUSHALL");
    await limiter.decideAll(subjects.map((subject) => request(1000, subject)));
    // A slot that is on its way while one of two keys has come: no node can run a script on both.
    const torn = await told(nodes[0].port, async (redis) => {
      const [key] = await redis.keys("*}:");
      return { key: key!, slot: await redis.cluster("KEYSLOT", key!) };
    });
    await told(nodes[1].port, (redis) => redis.cluster("SETSLOT", torn.slot, "IMPORTING", first));
    await told(nodes[0].port, (redis) => redis.cluster("SETSLOT", torn.slot, "MIGRATING", second));
    const tornErrors = () =>
      told(nodes[0].port, async (redis) =>
        Number(/errorstat_TRYAGAIN:count=(\d+)/.exec(await redis.info("errorstats"))?.[1] ?? 0),
      );
    for (let round = 0; round < 12; round++) {
      const decisions = await limiter.decideAll(subjects.map(both));
      const degraded = decisions.filter((one) => one.degraded).length;
      expect(degraded, "at least the one in that slot").toBeGreaterThanOrEqual(1);
      expect(degraded, "and hardly another").toBeLessThanOrEqual(3);
    }
    expect(await tornErrors(), "the fault happened").toBeGreaterThanOrEqual(12);
    expect(limiter.isDegraded()).toBe(false);
  });

  it("counts each subject on its node, and a node that is gone degrades only its own subjects", async () => {
    const nodes = await startCluster();
    const limiter = await limiterOn(target(nodes));
    await expectHealthy(limiter);
    const asked = Array.from({ length: 40 }, (_, at) => request(3, `cluster ${at}`));
    const decisions = await limiter.decideAll([...asked, ...asked, ...asked, ...asked]);
    expect(decisions.every(({ degraded }) => !degraded)).toBe(true);
    expect(decisions.map(({ allowed }) => allowed)).toEqual(decisions.map((_, at) => at < 120));
    await nodes[1].freeze();
    const looks = asked.map((one) => ({ ...one, cost: 0 }));
    await limiter.decideAll(looks);
    await limiter.decideAll(looks);
    await limiter.decideAll(looks);
    const startMs = performance.now();
    const without = await limiter.decideAll(looks);
    expect(performance.now() - startMs).toBeLessThan(45);
    const degraded = without.filter((decision) => decision.degraded).length;
    expect(degraded).toBeGreaterThan(5);
    expect(degraded).toBeLessThan(35);
    nodes[1].resume();
    await vi.waitFor(() => expect(limiter.isDegraded()).toBe(false), { timeout: BACK_WITHIN_MS });
    await expectHealthy(limiter);
  });
});
