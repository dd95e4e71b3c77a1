/** The limiter on a Redis Cluster: passwords, slots that move, an unreachable node. Real nodes. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { type RedisServer, redisCommand } from "../support/own-redis.ts";
import {
  BACK_WITHIN_MS,
  clusterIsUp,
  expectDegraded,
  expectHealthy,
  limiterOn,
  request,
  startOwnRedis,
  stopAll,
  told,
} from "../support/redis-limiters.ts";
import { clusterAt } from "../support/redis-target.ts";
import { canStart } from "../support/shared-servers.ts";

afterEach(stopAll);

describe.skipIf(!canStart("redis"))("the limiter on a cluster", () => {
  async function startCluster(): Promise<readonly [RedisServer, RedisServer]> {
    const args = [...["--cluster-enabled", "yes"], ...["--cluster-require-full-coverage", "no"]];
    const nodes = [await startOwnRedis(args), await startOwnRedis(args)] as const;
    await redisCommand(nodes[0].port, "CLUSTER", "ADDSLOTSRANGE", "0", "8191");
    await redisCommand(nodes[1].port, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383");
    await redisCommand(nodes[0].port, "CLUSTER", "MEET", "127.0.0.1", `${nodes[1].port}`);
    for (const { port } of nodes) await clusterIsUp(port);
    return nodes;
  }
  const nodeId = (port: number) => told(port, async (redis) => `${await redis.cluster("MYID")}`);
  const movedErrors = (port: number) =>
    told(port, async (redis) => Number(/errorstat_MOVED:count=(\d+)/.exec(await redis.info("errorstats"))?.[1] ?? 0));
  /** The slots of the first node that hold no keys. */
  const emptySlots = (port: number) =>
    told(port, async (redis) => {
      const slots = Array.from({ length: 8192 }, (_, slot) => slot);
      const counts = redis.pipeline();
      for (const slot of slots) counts.cluster("COUNTKEYSINSLOT", slot);
      const answers = await counts.exec();
      return slots.filter((slot) => answers![slot]![1] === 0);
    });
  /** Assigns slots to another node in one step, before the limiter reads the slots again, as it does each second. */
  const giveSlots = (port: number, slots: readonly number[], to: string) =>
    told(port, async (redis) => {
      const gifts = redis.pipeline();
      for (const slot of slots) gifts.cluster("SETSLOT", slot, "NODE", to);
      const answers = await gifts.exec();
      expect(answers!.map(([error]) => error)).toEqual(slots.map(() => null));
    });
  const target = (nodes: readonly RedisServer[], access = "") =>
    clusterAt(nodes.map(({ port }) => `redis://${access}127.0.0.1:${port}`).join());

  it("sends its password to each node, and degrades all calls without it", async () => {
    const nodes = await startCluster();
    for (const { port } of nodes) await redisCommand(port, "CONFIG", "SET", "requirepass", "a password");
    // The fault happened: the nodes refuse a client without a password.
    for (const { port } of nodes) await expect(redisCommand(port, "GET", "a")).rejects.toThrow("NOAUTH");
    // The limiter finds the second node by the first.
    const named = target(nodes.slice(0, 1));
    const limiter = await limiterOn(target(nodes.slice(0, 1), ":a%20password@"));
    await expectHealthy(limiter);
    await expectDegraded(await limiterOn(named));
  });

  it("follows slots that move to another node, and degrades no call", async () => {
    const nodes = await startCluster();
    const limiter = await limiterOn(target(nodes));
    await expectHealthy(limiter);
    const ids: string[] = [];
    for (const { port } of nodes) ids.push(await nodeId(port));
    // Slots without keys may move in one step.
    const moving = await emptySlots(nodes[0].port);
    for (const { port } of [nodes[1], nodes[0]]) await giveSlots(port, moving, ids[1]!);
    const subjects = Array.from({ length: 24 }, (_, at) => request(5, `moved ${at}`));
    const decisions = await limiter.decideAll(subjects);
    // The fault happened: some calls went to the old node, which redirected them.
    expect(await movedErrors(nodes[0].port)).toBeGreaterThan(0);
    expect(decisions.filter(({ degraded }) => degraded)).toEqual([]);
    expect(decisions.map(({ windows }) => windows[0]!.remaining)).toEqual(subjects.map(() => 4));
  });

  it("degrades only the subject that has half of its windows on another node", async () => {
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
    // A slot is moving, and only one of its two keys has arrived: no node can run a script on both.
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

  it("counts each subject on its node, and degrades only the subjects of an unreachable node", async () => {
    const nodes = await startCluster();
    const limiter = await limiterOn(target(nodes));
    await expectHealthy(limiter);
    const together = [request(3, "together a"), request(0, "together b")];
    expect((await limiter.decideTogether(together)).map(({ allowed }) => allowed)).toEqual([true, false]);
    const counted = await limiter.decideTogether(together);
    expect(counted, "each was decided by itself").toMatchObject([{ degraded: false, windows: [{ remaining: 1 }] }, {}]);
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
