import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { RedisConnection } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { recordingLog } from "../support/recording-log.ts";
import { redisAt } from "../support/redis-target.ts";

/** Speaks just enough of RESP2 to be taken for a Redis, and answers every script with what a test gives. */
function startHostileRedis(scriptReply: string): Promise<Server> {
  const info = "redis_version:7.0.15\r\nloading:0\r\n";
  const replies: Record<string, string> = {
    hello: "-ERR unknown command 'HELLO'\r\n",
    client: "+OK\r\n",
    info: `$${info.length}\r\n${info}\r\n`,
    evalsha: scriptReply,
  };
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const commands = data.toString("latin1").matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g);
      for (const [, name] of commands) socket.write(replies[name!.toLowerCase()] ?? "+OK\r\n", "latin1");
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});

/** Two calls with one limit each are answered by twelve figures of four bytes; see limit.lua. */
describe("a hostile Redis is out of reach when it answers", () => {
  it.each<[what: string, reply: string]>([
    ["a status", "+OK\r\n"],
    ["nothing", "$-1\r\n"],
    ["an empty text", "$0\r\n\r\n"],
    ["a text that is too short", `$47\r\n${"\0".repeat(47)}\r\n`],
    ["a text that is longer by one byte", `$49\r\n${"\0".repeat(49)}\r\n`],
    ["a text that is longer by one figure", `$52\r\n${"\0".repeat(52)}\r\n`],
    ["negative figures", `$48\r\n${"\x7f".repeat(44)}\x7f\x7f\x7f\xff\r\n`],
    ["figures in a list", `*12\r\n${":1\r\n".repeat(12)}`],
    ["a list of texts", `*12\r\n${"$4\r\n\x01\0\0\0\r\n".repeat(12)}`],
    ["a list", "*0\r\n"],
    ["an error", "-WHATEVER it likes\r\n"],
  ])("%s", async (_what, reply) => {
    const server = await startHostileRedis(reply);
    const { port } = server.address() as { port: number };
    const log = recordingLog();
    const connection = new RedisConnection(redisAt(`redis://127.0.0.1:${port}`), log);
    const store = new RedisLimitStore({ connection });
    const limiter = new SharedLimiter({ store, clock: systemClock, log, replicas: 1, workers: 1 });
    closing.push(
      () => server.close(),
      () => connection.close(),
      () => limiter.close(),
    );
    expect(await connection.ready(2_000)).toBe(true);
    const limits = [{ name: "", perMinute: 1, perDay: undefined }];
    const decisions = await limiter.decideAll([1, 2].map(() => ({ subject: "s", cost: 1, limits })));
    expect(decisions).toMatchObject([
      { allowed: true, degraded: true },
      { allowed: false, degraded: true },
    ]);
  });
});
