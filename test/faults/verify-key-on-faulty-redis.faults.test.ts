/** The answers of VerifyKey and the admitted calls while Redis is dead, frozen or slow: the real service. */

import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { procStat } from "../support/child-process.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, startFleet, startProxyTo } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { type Answer, answerTo, quantile, report, tally } from "../support/measurements.ts";
import { type RedisServer, redisCommand, startRedis } from "../support/own-redis.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";
import type { Cast, IssuedKey, ReadyService } from "../support/spawned-service.ts";
import { letPass } from "../support/until.ts";

/** The promise for a whole call. The limiter waits 50 ms for Redis. */
const FIRST_MS = 60;
/** Maximum delay over the idle p99 after the limiter has given Redis up. */
const EXTRA_MS = 5;
/** The delay that a busy machine causes to a single call. */
const ROOM_MS = 100;
const BACK_WITHIN_MS = 2000;
const CALLS = 300;

interface Fault {
  readonly begin: () => Promise<void>;
  /** Shows that the fault holds. */
  readonly expectHeld: () => Promise<void>;
  readonly end: () => Promise<void>;
}

describe.skipIf(!canStart("postgres") || !canStart("redis"))("three processes with one Redis", () => {
  let redis: RedisServer;
  let proxy: FaultProxy;
  let fleet: Fleet;
  let cast: Cast;
  let key: IssuedKey;

  const faults: Record<string, Fault> = {
    dead: {
      begin: () => redis.kill(),
      expectHeld: () => expect(redisCommand(redis.port, "PING")).rejects.toThrow("ECONNREFUSED"),
      end: () => redis.restart(),
    },
    frozen: {
      begin: () => redis.freeze(),
      expectHeld: async () => expect(procStat(redis.pid)?.state).toBe("T"),
      end: async () => redis.resume(),
    },
    slow: {
      begin: async () => proxy.delay(400),
      expectHeld: async () => {
        const askedAtMs = performance.now();
        expect(await redisCommand(proxy.port, "PING")).toBe("PONG");
        expect(performance.now() - askedAtMs).toBeGreaterThan(700);
      },
      end: () => proxy.restore(),
    },
  };

  beforeAll(async () => {
    redis = await startRedis();
    const linked = await startProxyTo(redis.url);
    proxy = linked.proxy;
    const servers = { DATABASE_URL: await freshPostgres(), REDIS_URL: linked.url };
    fleet = await startFleet({ ...servers, LATCHKEY_REPLICAS: "3" }, [{}, {}, {}]);
    cast = await fleet.cast();
    [key] = (await cast.issue(1)) as [IssuedKey];
  });
  afterAll(async () => {
    await fleet?.stop();
    await proxy?.stop();
    await redis?.stop();
  });

  const askingAt = (process: ReadyService) => {
    const client = clientOf(process.address, KeyService, cast.verifier);
    return (asked: IssuedKey) => answerTo(() => client.verifyKey({ apiKey: asked.raw }));
  };

  it.each(["dead", "frozen", "slow"])(
    "(%s) answer every call, the first within 60 ms and later ones as before, and count together again within 2 s",
    async (name) => {
      const fault = faults[name]!;
      const ask = askingAt(fleet.processes[0]!);
      const several = async (calls: number) => {
        const answers: Answer[] = [];
        for (let call = 0; call < calls; call++) answers.push(await ask(key));
        return answers;
      };
      const times = (answers: readonly Answer[]) => answers.map(({ tookMs }) => tookMs);
      const degraded = (answers: readonly Answer[]) => answers.filter(({ response }) => response?.degraded).length;
      // The control: with Redis no call is degraded. It may repeat, because a busy machine may pause Redis for 50 ms.
      let idle = await several(CALLS);
      for (let tries = 1; tries < 10 && degraded(idle) > 0; tries++) idle = await several(CALLS);
      expect(degraded(idle)).toBe(0);

      await fault.begin();
      const during = await several(CALLS);
      await fault.expectHeld();
      report(`Redis ${name}, idle before`, times(idle));
      report(`Redis ${name}, first calls`, times(during.slice(0, 3)));
      report(`Redis ${name}, later calls`, times(during.slice(3)));
      expect(tally([...idle, ...during])).toEqual({ VALID: 2 * CALLS });
      expect(degraded(during.slice(3))).toBe(CALLS - 3);
      expect(quantile(times(during), 1)).toBeLessThan(FIRST_MS + ROOM_MS);
      // After the three calls that open the circuit breaker, no call waits. The bound is the median, which noise does
      // not reach.
      expect(during.slice(3).filter(({ tookMs }) => tookMs > FIRST_MS - 10).length).toBeLessThan(CALLS / 100);
      expect(quantile(times(during.slice(3)), 0.5)).toBeLessThan(quantile(times(idle), 0.99) + EXTRA_MS);
      // The control: the client library with its default settings still waits for Redis.
      const naive = new Redis(`redis://127.0.0.1:${proxy.port}`, { lazyConnect: false });
      naive.on("error", () => {});
      const answered = await Promise.race([
        naive.ping().then(
          () => "answered",
          () => "failed",
        ),
        pause(500, "waits"),
      ]);
      naive.disconnect();
      expect(answered).toBe("waits");

      await fault.end();
      const endedAtMs = performance.now();
      let last = await ask(key);
      while (last.response?.degraded && performance.now() - endedAtMs < BACK_WITHIN_MS + ROOM_MS) last = await ask(key);
      expect(last).toMatchObject({ said: "VALID", response: { degraded: false } });
      expect(performance.now() - endedAtMs).toBeLessThan(BACK_WITHIN_MS + ROOM_MS);
      // The other two processes had no calls, and so noticed no outage.
      for (const other of fleet.processes.slice(1).map(askingAt)) {
        await expect.poll(async () => (await other(key)).response?.degraded, { timeout: 1000 }).toBe(false);
      }
    },
  );

  it("admit exactly L together, L more after FLUSHALL, and at most (3 + 1) * L in a window that touches an outage", async () => {
    const limit = 20;
    const askers = fleet.processes.map(askingAt);
    /** The admitted calls, as their clients count them. */
    const admitted = async (asked: IssuedKey) => {
      const all = askers.flatMap((ask) => Array.from({ length: 64 }, () => ask(asked)));
      const answers = await Promise.all(all);
      expect(Object.keys(tally(answers)).sort()).toEqual(expect.arrayContaining(["RATE_LIMITED"]));
      const accepts = answers.filter(({ said }) => said === "VALID");
      expect(accepts.length + answers.filter(({ said }) => said === "RATE_LIMITED").length).toBe(3 * 64);
      return { accepts: accepts.length, degraded: accepts.filter(({ response }) => response!.degraded).length };
    };
    /**
     * A key whose calls Redis alone has decided so far. On a busy machine Redis may be late for a call, and then the
     * process decides.
     */
    const decidedByRedis = async () => {
      for (const asked of await cast.issue(5, limit)) {
        const before = await admitted(asked);
        if (before.degraded === 0) return { asked, before };
      }
      throw new Error("Redis was late for each of five keys");
    };
    const { asked: flushed, before: beforeFlush } = await decidedByRedis();
    // The control: the limit bounds the admitted calls, not their number.
    expect(beforeFlush).toEqual({ accepts: limit, degraded: 0 });
    await redisCommand(redis.port, "FLUSHALL");
    const afterFlush = await admitted(flushed);
    expect(afterFlush.accepts - afterFlush.degraded).toBeLessThanOrEqual(limit);

    const { asked: touched, before } = await decidedByRedis();
    expect(before).toEqual({ accepts: limit, degraded: 0 });
    await redis.kill();
    await expect(redisCommand(redis.port, "PING")).rejects.toThrow("ECONNREFUSED");
    // A process remembers a full window for 5 s. After that it admits its share.
    await letPass(5100, "full windows are believed for 5 s");
    const during = await admitted(touched);
    expect(during.accepts).toBe(during.degraded);
    expect(during.accepts).toBeGreaterThan(0);
    await redis.restart();
    for (const ask of askers) {
      await expect.poll(async () => (await ask(key)).response?.degraded, { timeout: BACK_WITHIN_MS }).toBe(false);
    }
    const after = await admitted(touched);
    expect(before.accepts + during.accepts + after.accepts).toBeLessThanOrEqual((3 + 1) * limit);
    expect(after.accepts).toBeLessThanOrEqual(limit);
  });
});
