import { createConnection } from "node:net";
import { describe, expect, it } from "vitest";
import { isDead, procStat } from "./child-process.ts";
import { redisCommand, startRedis } from "./own-redis.ts";
import { canStart, freshRedis } from "./shared-servers.ts";

describe.skipIf(!canStart("redis"))("a Redis that a test starts", () => {
  it("answers, refuses connections when it is killed, and restarts empty on the same port", async () => {
    await using redis = await startRedis();
    const firstPid = redis.pid;
    expect(await redisCommand(redis.port, "SET", "a", "1")).toBe("OK");

    await redis.kill();
    expect(isDead(firstPid)).toBe(true);
    await expect(redisCommand(redis.port, "PING")).rejects.toThrow("ECONNREFUSED");

    await redis.restart();
    expect(redis.pid).not.toBe(firstPid);
    expect(await redisCommand(redis.port, "EXISTS", "a")).toBe("0");
  });

  it("keeps its data over a restart if its arguments say so", async () => {
    await using redis = await startRedis({ args: ["--appendonly", "yes"] });
    await redisCommand(redis.port, "SET", "a", "1");
    await redis.restart();
    expect(await redisCommand(redis.port, "EXISTS", "a")).toBe("1");
  });

  it("accepts connections while it is frozen, and answers them when it is resumed", async () => {
    await using redis = await startRedis();
    await redis.freeze();
    expect(procStat(redis.pid)?.state).toBe("T");
    const socket = createConnection(redis.port, "127.0.0.1");
    const order: string[] = [];
    const answer = new Promise<string>((resolve, reject) => {
      socket.once("connect", () => order.push("connected"));
      socket.once("error", reject);
      socket.once("data", (data) => resolve(String(data)));
    });
    socket.write("PING\r\n");
    await expect(redisCommand(redis.port, "PING")).rejects.toThrow("no answer");
    order.push("resumed");
    redis.resume();
    expect(await answer).toBe("+PONG\r\n");
    expect(order).toEqual(["connected", "resumed"]);
    socket.destroy();
  });

  it("stops while it is frozen", async () => {
    const redis = await startRedis();
    await redis.freeze();
    await redis.stop();
    expect(isDead(redis.pid)).toBe(true);
  });
});

it.skipIf(!canStart("redis"))("two tests never get the same database of the run's Redis", async () => {
  const urls = await Promise.all([freshRedis(), freshRedis(), freshRedis()]);
  expect(new Set(urls).size).toBe(3);
});
