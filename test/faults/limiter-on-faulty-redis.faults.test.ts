/** The limiter of this process when a real Redis dies, freezes, refuses or is slow, and when this process stalls. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { LimitRequest } from "../../src/limits/limit.ts";
import type { SharedLimiter } from "../../src/limits/limiter.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { redisCommand } from "../support/own-redis.ts";
import {
  expectBack,
  expectDegraded,
  expectHealthy,
  limiterOn,
  renewed,
  request,
  single,
  startOwnRedis,
  stopAll,
  told,
} from "../support/redis-limiters.ts";
import { canStart } from "../support/shared-servers.ts";

afterEach(stopAll);

describe.skipIf(!canStart("redis"))(
  "every call is answered, and Redis is used again within 2 s of its return, if it",
  () => {
    it("is frozen", async () => {
      const redis = await startOwnRedis();
      const limiter = await limiterOn(single(redis.port));
      await expectHealthy(limiter);
      await redis.freeze();
      await expectDegraded(limiter);
      redis.resume();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is frozen until the limiter gives up its connection", async () => {
      const redis = await startOwnRedis();
      const limiter = await limiterOn(single(redis.port));
      await redis.freeze();
      await expectDegraded(limiter);
      await renewed(limiter);
      redis.resume();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is killed, and has forgotten its windows and the script", async () => {
      const redis = await startOwnRedis();
      const limiter = await limiterOn(single(redis.port));
      await expectHealthy(limiter);
      await redis.kill();
      await expectDegraded(limiter);
      await redis.restart();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is unreachable at the start", async () => {
      const redis = await startOwnRedis();
      await redis.kill();
      const limiter = await limiterOn(single(redis.port));
      await expectDegraded(limiter);
      await redis.restart();
      await expectBack(limiter);
    });

    it("is slower than 50 ms", async () => {
      const redis = await startOwnRedis();
      await using proxy = await startFaultProxy(redis.port);
      const limiter = await limiterOn(single(proxy.port));
      await expectHealthy(limiter);
      proxy.delay(500);
      await expectDegraded(limiter);
      await proxy.restore();
      await expectBack(limiter);
      await expectHealthy(limiter);
    });

    it("is behind a proxy that drops every byte, including the end of connections", async () => {
      const redis = await startOwnRedis();
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
      const redis = await startOwnRedis();
      const limiter = await limiterOn(single(redis.port));
      await redisCommand(redis.port, "REPLICAOF", "127.0.0.1", "1");
      await expectDegraded(limiter);
      await redisCommand(redis.port, "REPLICAOF", "NO", "ONE");
      await expectBack(limiter);
    });

    it("is replaced by an empty replica, which has lost all windows", async () => {
      const [redis, empty] = [await startOwnRedis(), await startOwnRedis()];
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
      // Another limiter, which does not remember that the window was full, admits at most L more.
      const other = await limiterOn(single(redis.port));
      expect((await other.decideAll(calls)).filter(({ allowed }) => allowed).length).toBe(3);
      expect((await other.decideAll(calls)).filter(({ allowed }) => allowed).length).toBe(0);
    });

    it("is out of memory", async () => {
      const redis = await startOwnRedis();
      const limiter = await limiterOn(single(redis.port));
      await redisCommand(redis.port, "CONFIG", "SET", "maxmemory", "1");
      await expectDegraded(limiter);
      await redisCommand(redis.port, "CONFIG", "SET", "maxmemory", "0");
      await expectBack(limiter);
    });

    it("is loading its data", async () => {
      const redis = await startOwnRedis([...["--appendonly", "yes"], ...["--key-load-delay", "20"]]);
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
  },
);

describe.skipIf(!canStart("redis"))("a script that Redis forgot", () => {
  it("is sent again, and no call is degraded or counted twice", async () => {
    const redis = await startOwnRedis();
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
      // The fault happened: the limiter sent the whole script.
      expect((await evalCalls(redis.port)) - before).toBe(1);
    }
    expect((await limiter.decide(asked)).allowed).toBe(false);
  });

  /** Number of times that Redis got a script's text. Redis has no figure before the first time. */
  const evalCalls = (port: number) =>
    told(port, async (redis) => Number(/cmdstat_eval:calls=(\d+)/.exec(await redis.info("commandstats"))?.[1] ?? 0));
});

describe.skipIf(!canStart("redis"))("a stall of this process", () => {
  const stall = (ms: number) => {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs);
  };

  it("does not count as an outage of Redis", async () => {
    const redis = await startOwnRedis();
    const limiter = await limiterOn(single(redis.port));
    await limiter.decide(request());
    for (let round = 0; round < 10; round++) {
      const order: string[] = [];
      const decision = Promise.resolve(limiter.decide(request())).then(({ degraded }) =>
        order.push(degraded ? "degraded" : "answer"),
      );
      // The stall begins after the group went out. A timer of 50 ms is due when the stall ends.
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

it.skipIf(!canStart("redis"))(
  "a lone limiter admits at most 2 L in a minute in which Redis lost everything in an outage",
  async () => {
    const redis = await startOwnRedis();
    const limiter = await limiterOn(single(redis.port), 1);
    const asked = request(20);
    const calls = (figure: number) =>
      Array.from({ length: 50 }, () => ({ ...asked, limits: [{ ...asked.limits[0]!, perMinute: figure }] }));
    const admitted = async (figure: number) =>
      (await limiter.decideAll(calls(figure))).filter(({ allowed }) => allowed).length;
    // The limiter remembers a full window for up to 5 s. Another limit of the subject shows what it admits after that.
    const before = await admitted(20);
    await redis.kill();
    await expectDegraded(limiter);
    const during = await admitted(19);
    await redis.restart();
    await expectBack(limiter);
    const after = await admitted(18);
    expect({ before, during, after }).toEqual({ before: 20, during: 19, after: 0 });
  },
);

describe.skipIf(!canStart("redis"))("several limiters", () => {
  const admitted = async (limiters: readonly SharedLimiter[], asked: LimitRequest, callers: number) => {
    const decisions = await Promise.all(
      limiters.flatMap((limiter) => Array.from({ length: callers }, () => limiter.decide(asked))),
    );
    return decisions.filter(({ allowed }) => allowed).length;
  };

  it("admit exactly L together, with 64 callers each", async () => {
    const redis = await startOwnRedis();
    const limiters = await Promise.all([1, 2, 3].map(() => limiterOn(single(redis.port), 3)));
    const asked = request(100);
    expect(await admitted(limiters, asked, 64)).toBe(100);
    expect(await admitted(limiters, asked, 64)).toBe(0);
  });

  it("admit at most (processes + 1) * L in a window that touches an outage, and L more after FLUSHALL", async () => {
    const redis = await startOwnRedis();
    const limiters = await Promise.all([1, 2, 3].map(() => limiterOn(single(redis.port), 3)));
    const asked = request(20);
    expect(await admitted(limiters, asked, 64)).toBe(20);
    await redis.kill();
    await Promise.all(limiters.map(expectDegraded));
    // A limiter remembers a full window for up to 5 s. Another limit shows what the share alone admits.
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
