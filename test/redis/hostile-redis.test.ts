import { createServer, type Server, type Socket } from "node:net";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/lib/clock.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { RedisConnection, type RedisTarget } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { recordingLog } from "../support/recording-log.ts";
import { clusterAt, redisAt } from "../support/redis-target.ts";
import { eventually } from "../support/until.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});

/** Speaks just enough RESP2 to look like a Redis, and answers commands with the replies that a test passes. */
function startHostileRedis(
  answers: Readonly<Record<string, string>> | ((port: number) => Readonly<Record<string, string>>),
  onConnection: (socket: Socket) => void = () => {},
): Promise<Server> {
  const info = "redis_version:7.0.15\r\nloading:0\r\n";
  const replies = (port: number): Record<string, string> => ({
    hello: "-ERR unknown command 'HELLO'\r\n",
    client: "+OK\r\n",
    info: `$${info.length}\r\n${info}\r\n`,
    ...(typeof answers === "function" ? answers(port) : answers),
  });
  const server = createServer((socket) => {
    socket.on("error", () => {});
    const port = socket.localPort!;
    onConnection(socket);
    socket.on("data", (data) => {
      const commands = data.toString("latin1").matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g);
      for (const [, name] of commands) socket.write(replies(port)[name!.toLowerCase()] ?? "+OK\r\n", "latin1");
    });
  });
  closing.push(() => server.close());
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

const portOf = (server: Server) => (server.address() as { port: number }).port;

function open(target: RedisTarget) {
  const log = recordingLog();
  const connection = new RedisConnection(target, log);
  const store = new RedisLimitStore({ connection });
  const limiter = new SharedLimiter({ store, clock: systemClock, log, replicas: 1, workers: 1 });
  closing.push(
    () => connection.close(),
    () => limiter.close(),
  );
  return { log, connection, limiter };
}

/** The right answer for two calls with one limit each has twelve numbers of four bytes; see limit.lua. */
describe("the answer of a hostile Redis", () => {
  it.each<[what: string, reply: string]>([
    ["a status", "+OK\r\n"],
    ["nothing", "$-1\r\n"],
    ["an empty text", "$0\r\n\r\n"],
    ["a text that is too short", `$47\r\n${"\0".repeat(47)}\r\n`],
    ["a text that is one byte too long", `$49\r\n${"\0".repeat(49)}\r\n`],
    ["a text that is one number too long", `$52\r\n${"\0".repeat(52)}\r\n`],
    ["negative numbers", `$48\r\n${"\x7f".repeat(44)}\x7f\x7f\x7f\xff\r\n`],
    ["numbers in a list", `*12\r\n${":1\r\n".repeat(12)}`],
    ["a list of texts", `*12\r\n${"$4\r\n\x01\0\0\0\r\n".repeat(12)}`],
    ["a list", "*0\r\n"],
    ["an unknown error", "-WHATEVER it likes\r\n"],
  ])("makes it count as unreachable: %s", async (_what, reply) => {
    const server = await startHostileRedis({ evalsha: reply });
    const { connection, limiter } = open(redisAt(`redis://127.0.0.1:${portOf(server)}`));
    expect(await connection.ready(2_000)).toBe(true);
    const limits = [{ name: "", perMinute: 1, perDay: undefined }];
    const decisions = await limiter.decideAll([1, 2].map(() => ({ subject: "s", cost: 1, limits })));
    expect(decisions).toMatchObject([
      { allowed: true, degraded: true },
      { allowed: false, degraded: true },
    ]);
  });
});

/**
 * Without the guard, each of these replies ended the process or filled its memory. An uncaught error fails this file.
 */
describe("a hostile Redis", () => {
  const LIMITS = [{ name: "", perMinute: 1, perDay: undefined }];

  it.each<[what: string, reply: string, cause: string]>([
    ["a list of 30 million entries that never come", "*30000000\r\n", "REPLY_TOO_LARGE"],
    ["lists inside lists", "*1000\r\n*1000\r\n", "REPLY_TOO_LARGE"],
    ["a text of a gigabyte that never comes", "$1000000000\r\n", "REPLY_TOO_LARGE"],
    ["a map of RESP3", "%15000000\r\n", "REPLY_NO_REDIS"],
    ["nothing, twice", "$-1\r\n$-1\r\n", "REPLY_UNASKED"],
    ["a web page", "HTTP/1.1 200 OK\r\n\r\n", "REPLY_NO_REDIS"],
  ])("is cut off when it answers a script with %s", async (_what, reply, cause) => {
    const server = await startHostileRedis({ evalsha: reply });
    const { connection, limiter, log } = open(redisAt(`redis://127.0.0.1:${portOf(server)}`));
    expect(await connection.ready(2_000)).toBe(true);
    expect(await limiter.decide({ subject: "s", cost: 1, limits: LIMITS })).toMatchObject({ degraded: true });
    await eventually(() => expect(log.lines.map(({ fields }) => fields.cause)).toContain(cause));
  });

  it.each([
    ["nothing", "$-1\r\n"],
    ["a push", ">2\r\n$7\r\nmessage\r\n$1\r\na\r\n"],
  ])("is cut off when it sends %s without being asked", async (_what, reply) => {
    const server = await startHostileRedis({}, (socket) => socket.write(reply));
    const { connection, log } = open(redisAt(`redis://127.0.0.1:${portOf(server)}`));
    await connection.ready(300);
    await eventually(() =>
      expect(log.lines.map(({ fields }) => fields.cause)).toContainEqual(expect.stringMatching(/^REPLY_/)),
    );
  });

  /** Sends one endless text as fast as it is read, and counts the bytes that were taken. */
  function flood() {
    const flooded = { bytes: 0 };
    const block = Buffer.alloc(65_536, "x");
    const pour = (socket: Socket): void => {
      while (socket.writable && flooded.bytes < MOST_BYTES) {
        flooded.bytes += block.length;
        if (!socket.write(block)) return void socket.once("drain", () => pour(socket));
      }
    };
    const start = (socket: Socket) =>
      socket.once("data", () => {
        socket.write(`$${2 ** 31}\r\n`);
        pour(socket);
      });
    return { flooded, start };
  }
  const MOST_BYTES = 256 * 1_048_576;
  /** The bytes that the kernel may buffer. */
  const KERNEL_BYTES = 32 * 1_048_576;

  it("is cut off when it answers with an endless text", async () => {
    const { flooded, start } = flood();
    const server = await startHostileRedis({}, start);
    const { connection, log } = open(redisAt(`redis://127.0.0.1:${portOf(server)}`));
    expect(await connection.ready(300)).toBe(false);
    expect(log.lines.map(({ fields }) => fields.cause)).toEqual(["REPLY_TOO_LARGE"]);
    expect(flooded.bytes).toBeLessThan(KERNEL_BYTES);
  });

  it("sends all of an endless text to a client without the guard (control)", async () => {
    const { flooded, start } = flood();
    const server = await startHostileRedis({}, start);
    const redis = new Redis({ port: portOf(server), protocol: 2, disableClientInfo: true });
    redis.on("error", () => {});
    closing.push(() => redis.disconnect());
    await eventually(() => expect(flooded.bytes).toBe(MOST_BYTES));
  });

  it("is cut off when it is a Sentinel", async () => {
    const server = await startHostileRedis({ hello: "*2\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n" });
    const log = recordingLog();
    const connection = new RedisConnection(redisAt(`redis://127.0.0.1:${portOf(server)}`), log);
    closing.push(() => connection.close());
    await expect(connection.ready(2_000)).rejects.toThrow(/Redis Sentinel; name the primary/);
  });

  it("gets none of its own words into the log", async () => {
    const memory = "maxmemory_policy:allkeys-lru {evil}\r\nevicted_keys:evil\r\n";
    const server = await startHostileRedis({ info: `$${memory.length}\r\n${memory}\r\n`, evalsha: "-EVIL evil\r\n" });
    const { connection, limiter, log } = open(redisAt(`redis://127.0.0.1:${portOf(server)}`));
    expect(await connection.ready(2_000)).toBe(true);
    for (let call = 0; call < 3; call++) await limiter.decide({ subject: "s", cost: 1, limits: LIMITS });
    expect(
      log.lines.map(({ fields }) => fields.cause),
      "the control: the error is logged",
    ).toEqual(["UNKNOWN"]);
    expect(JSON.stringify(log.lines)).not.toMatch(/evil/i);
    expect(connection.evictedKeys).toBe(0);
  });

  const SLOTS = (node: string) => `*1\r\n*3\r\n:0\r\n:16383\r\n${node}`;
  it.each<[what: string, answers: Readonly<Record<string, string>>]>([
    ["nothing for its slots", { cluster: "$-1\r\n" }],
    ["a status for its slots", { cluster: "+OK\r\n" }],
    ["nothing for a range", { cluster: "*1\r\n$-1\r\n" }],
    ["nothing for a node", { cluster: SLOTS("*-1\r\n") }],
    ["a range without a node", { cluster: "*1\r\n*2\r\n:0\r\n:1\r\n" }],
    [
      "a range of 9007199254740991 slots",
      { cluster: "*1\r\n*3\r\n:0\r\n:9007199254740991\r\n*2\r\n$1\r\na\r\n:1\r\n" },
    ],
    ["all slots nine times", { cluster: `*9\r\n${"*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\na\r\n:1\r\n".repeat(9)}` }],
    ["a text that is not a host", { cluster: SLOTS("*2\r\n$6\r\na b\r\nc\r\n:1\r\n") }],
    ["a number for a host", { cluster: SLOTS("*2\r\n:1\r\n:1\r\n") }],
  ])("is cut off when it is a cluster that answers %s", async (_what, answers) => {
    const server = await startHostileRedis(answers);
    const { connection, limiter } = open(clusterAt(`127.0.0.1:${portOf(server)}`));
    expect(await connection.ready(300)).toBe(false);
    expect(await limiter.decide({ subject: "s", cost: 1, limits: LIMITS })).toMatchObject({ degraded: true });
  });

  it.each([["MOVED 5"], ["MOVED 5 "], ["ASK x y"]])(
    "is cut off when it redirects a call of a cluster to an invalid place: %s",
    async (error) => {
      const server = await startHostileRedis((port) => ({
        evalsha: `-${error}\r\n`,
        cluster: SLOTS(`*2\r\n$9\r\n127.0.0.1\r\n:${port}\r\n`),
      }));
      const { connection, limiter } = open(clusterAt(`127.0.0.1:${portOf(server)}`));
      expect(await connection.ready(2_000), "the control: it looks like a cluster").toBe(true);
      expect(await limiter.decide({ subject: "s", cost: 1, limits: LIMITS })).toMatchObject({ degraded: true });
    },
  );
});
