import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DAY_MS } from "../../src/lib/clock.ts";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { RedisConnection } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { slotOf } from "../../src/redis/slot.ts";
import { recordingLog } from "../support/recording-log.ts";
import { redisAt } from "../support/redis-target.ts";
import { canStart, freshRedis } from "../support/shared-servers.ts";

describe.skipIf(!canStart("redis"))("windows in Redis", () => {
  let connection: RedisConnection;
  let store: RedisLimitStore;
  beforeAll(async () => {
    connection = new RedisConnection(redisAt(await freshRedis()), recordingLog());
    expect(await connection.ready(5_000)).toBe(true);
    store = new RedisLimitStore({ connection });
  });
  afterAll(() => connection.close());

  const request = (subject: string, name = ""): LimitRequest => ({
    subject,
    cost: 1,
    limits: [{ name, perMinute: 2, perDay: 10 }],
  });

  it("are timed by Redis' own clock", async () => {
    const seconds = Number((await connection.client.time())[0]);
    const [decision] = await store.decide([request("time")]);
    const [minute, day] = decision!.windows;
    expect(minute!.resetAfterMs).toBeGreaterThan(60_000);
    expect(minute!.resetAfterMs).toBeLessThanOrEqual(61_000);
    const bucketEndMs = (Math.floor((seconds * 1000) / 1_440_000) + 61) * 1_440_000;
    expect(Math.abs(bucketEndMs - seconds * 1000 - day!.resetAfterMs)).toBeLessThan(5_000);
  });

  it("are stored under a digest of the subject as the hash tag, without any other trace of the subject", async () => {
    await connection.client.flushdb();
    await store.decide([request("alice@example.com", "search"), request("alice@example.com")]);
    const keys = (await connection.client.keys("*")).sort();
    expect(keys).toHaveLength(2);
    const digest = /\{([\w-]{24})\}/.exec(keys[0]!)![1];
    expect(keys).toEqual([`latchkey:limit:1:{${digest}}:`, `latchkey:limit:1:{${digest}}:search`]);
    for (const key of keys) expect(await connection.client.get(key)).not.toContain("alice");
  });

  it("expire a day and two buckets after they were last used", async () => {
    await connection.client.flushdb();
    await store.decide([request("gone")]);
    const [key] = await connection.client.keys("*");
    expect(Math.abs((await connection.client.pttl(key!)) - DAY_MS - 2 * 1_440_000)).toBeLessThan(2_000);
  });

  it("are not created by a denied call or a cost of 0", async () => {
    await connection.client.flushdb();
    await store.decide([
      { ...request("none"), cost: 3 },
      { ...request("none"), cost: 0 },
    ]);
    expect(await connection.client.dbsize()).toBe(0);
  });

  it("are decided even by a Redis that has forgotten the script", async () => {
    await store.decide([request("forgetful")]);
    await connection.client.script("FLUSH");
    const [decision] = await store.decide([request("forgetful")]);
    expect(decision!.windows[0]!.remaining).toBe(0);
  });

  it("need bounded memory for any number of calls", async () => {
    await connection.client.flushdb();
    let nowMs = 20_000 * DAY_MS;
    const timed = new RedisLimitStore({ connection, clock: { nowMs: () => nowMs, monotonicMs: () => nowMs } });
    const limits = [{ name: "", perMinute: 1_000, perDay: undefined }];
    for (let call = 0; call < 2_000; call++) {
      nowMs += call % 2 === 0 ? 997 : 700_000;
      await timed.decide([{ subject: "bounded", cost: 1, limits }]);
    }
    for (let call = 0; call < 100; call++) {
      nowMs += 500;
      await timed.decide([{ subject: "bounded", cost: 1, limits }]);
    }
    const [key] = await connection.client.keys("*");
    expect(await connection.client.strlen(key!)).toBeLessThanOrEqual(80 + 2 * 60 * 16);
  });

  it("fail the decision if other data is in their place", async () => {
    await connection.client.flushdb();
    await store.decide([request("liar")]);
    const [key] = await connection.client.keys("*");
    await connection.client.set(key!, "too short");
    await expect(store.decide([request("liar")])).rejects.toThrow();
    await connection.client.del(key!);
    await connection.client.lpush(key!, "not a string");
    const commands = () => connection.commandSeconds.counts.reduce((sum, each) => sum + each);
    const [failures, before] = [connection.failures, commands()];
    await expect(store.decide([request("liar")])).rejects.toThrow("WRONGTYPE");
    expect([connection.failures - failures, commands() - before]).toEqual([1, 1]);
  });
});

it.each([
  ["123456789", 12_739],
  ["foo", 12_182],
  ["", 0],
])("the slot of {%s} is that of the Redis Cluster specification", (tag, slot) => {
  expect(slotOf(tag)).toBe(slot);
});
