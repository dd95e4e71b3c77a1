/** Redis as operators deploy it: TLS, users with few rights, clusters, databases, eviction, passwords that change. */
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Environment } from "../../src/config/config.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { RedisConnection, type RedisTarget } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { withFreePort } from "../support/child-process.ts";
import { type RedisServer, redisCommand, startRedis } from "../support/own-redis.ts";
import { recordingLog } from "../support/recording-log.ts";
import { clusterIsUp, expectHealthy, request, told } from "../support/redis-limiters.ts";
import { clusterAt, redisAt } from "../support/redis-target.ts";
import { canStart } from "../support/shared-servers.ts";
import { serviceEnvironment, spawnService } from "../support/spawned-service.ts";
import { makeTlsFiles, type TlsFolder } from "../support/tls-files.ts";
import { eventually } from "../support/until.ts";

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function server(...args: readonly string[]): Promise<RedisServer> {
  const redis = await startRedis({ args });
  closing.push(() => redis.stop());
  return redis;
}

/** Opens a limiter with a log of its own. `isReady` is whether it connected within 2 s, or the error's text. */
async function open(target: RedisTarget) {
  const log = recordingLog();
  const connection = new RedisConnection(target, log);
  const store = new RedisLimitStore({ connection });
  const limiter = new SharedLimiter({ store, clock: systemClock, log, replicas: 1, workers: 1 });
  closing.push(
    () => connection.close(),
    () => limiter.close(),
  );
  const isReady = await connection.ready(2_000).catch((error: Error) => error.message);
  const causes = () => log.lines.map(({ fields }) => fields.cause).filter((cause) => cause !== undefined);
  return { log, connection, limiter, isReady, causes };
}

const urlOf = (redis: RedisServer, access = "", rest = "") => `redis://${access}127.0.0.1:${redis.port}${rest}`;
const keysOf = (port: number, database = 0) =>
  told(port, async (redis) => {
    await redis.select(database);
    return redis.keys("latchkey:*");
  });

/** A proxy that leads to a port, which may change, and records all that clients send. */
async function startSwitch(target: number) {
  const sockets = new Set<Socket>();
  const sent: Buffer[] = [];
  const state = { target };
  const front = createServer((socket) => {
    const back = connect(state.target, "127.0.0.1");
    for (const one of [socket, back]) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        socket.destroy();
        back.destroy();
      });
    }
    socket.on("data", (data) => sent.push(data));
    socket.pipe(back);
    back.pipe(socket);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  closing.push(() => {
    front.close();
    cut();
  });
  return {
    port: (front.address() as { port: number }).port,
    sent: () => Buffer.concat(sent),
    /** Ends all connections. New ones lead to this port. */
    leadTo: (port: number) => {
      state.target = port;
      cut();
    },
  };
}

describe.skipIf(!canStart("redis"))("a connection with TLS", () => {
  let files: TlsFolder;
  let others: TlsFolder;
  beforeAll(() => {
    files = makeTlsFiles("DNS:localhost,IP:127.0.0.1");
    others = makeTlsFiles("DNS:redis.example.com");
  });
  afterAll(() => {
    files[Symbol.dispose]();
    others[Symbol.dispose]();
  });
  const CA = () => ({ LATCHKEY_REDIS_CA_FILE: files.ca });
  const CLIENT = () => ({ ...CA(), LATCHKEY_REDIS_CERT_FILE: files.cert, LATCHKEY_REDIS_KEY_FILE: files.key });

  /** Starts a Redis with a TLS port beside its plaintext port. */
  const startTls = (clients: "yes" | "no", { cert, key, ca } = files) =>
    withFreePort(async (tlsPort) => {
      const tls = { port: tlsPort, "cert-file": cert, "key-file": key, "ca-cert-file": ca };
      const args = Object.entries({ ...tls, "auth-clients": clients }).flatMap(([name, value]) => [
        `--tls-${name}`,
        `${value}`,
      ]);
      return { redis: await server(...args), tlsPort };
    });

  it("encrypts every byte, and redis:// does not: the control", async () => {
    const { redis, tlsPort } = await startTls("no");
    const [encrypted, plain] = [await startSwitch(tlsPort), await startSwitch(redis.port)];
    const { limiter, isReady } = await open(redisAt(`rediss://localhost:${encrypted.port}`, CA()));
    expect(isReady).toBe(true);
    await expectHealthy(limiter);
    expect(encrypted.sent().length).toBeGreaterThan(10_000);
    expect(encrypted.sent()[0], "a TLS handshake").toBe(0x16);
    expect(encrypted.sent().includes("latchkey:limit")).toBe(false);
    const control = await open(redisAt(`redis://localhost:${plain.port}`));
    await expectHealthy(control.limiter);
    expect(plain.sent().includes("latchkey:limit")).toBe(true);
  });

  const UNTRUSTED = /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/;
  it.each<[what: string, env: () => Environment, cause: RegExp]>([
    ["of an authority that Node.js does not know", () => ({}), UNTRUSTED],
    ["of another authority", () => ({ LATCHKEY_REDIS_CA_FILE: files.ca }), UNTRUSTED],
    ["for another name", () => ({ LATCHKEY_REDIS_CA_FILE: others.ca }), /^CERT_NAME$/],
  ])("refuses a certificate %s, and says what to do", async (_what, env, cause) => {
    const { tlsPort } = await startTls("no", others);
    const { limiter, isReady, log } = await open(redisAt(`rediss://localhost:${tlsPort}`, env()));
    expect(isReady).toBe(false);
    expect(await limiter.decide(request())).toMatchObject({ degraded: true });
    const [line] = log.lines;
    expect(line!.fields.cause).toMatch(cause);
    expect(line!.fields.advice).toMatch(/certificate/);
  });

  it("shows a client certificate if Redis requires one, and the log says so if none is configured", async () => {
    const { tlsPort } = await startTls("yes");
    const { limiter, isReady } = await open(redisAt(`rediss://localhost:${tlsPort}`, CLIENT()));
    expect(isReady).toBe(true);
    await expectHealthy(limiter);
    const without = await open(redisAt(`rediss://localhost:${tlsPort}`, CA()));
    expect(without.isReady).toBe(false);
    expect(without.log.lines[0]!.fields.advice).toMatch(/certificate|closed the connection/);
  });

  it("fails with clear advice if one side speaks plaintext", async () => {
    const { redis, tlsPort } = await startTls("no");
    const one = await open(redisAt(`rediss://localhost:${redis.port}`, CA()));
    expect(one.isReady).toBe(false);
    expect(one.log.lines[0]!.fields.advice).toMatch(/redis:\/\/ instead of rediss|write rediss/);
    const other = await open(redisAt(`redis://localhost:${tlsPort}`));
    expect(other.isReady).toBe(false);
    expect(other.log.lines[0]!.fields.advice).toMatch(/write rediss:\/\//);
  });

  it("with a missing file stops the start, and the error names the setting", () => {
    const target = redisAt("rediss://localhost", { LATCHKEY_REDIS_CA_FILE: "/nowhere.pem" });
    expect(() => new RedisConnection(target, recordingLog())).toThrow(/^LATCHKEY_REDIS_CA_FILE: .*ENOENT/);
  });

  it("reads a replaced authority file again at its next connect", async () => {
    const { tlsPort } = await startTls("no");
    const env = { LATCHKEY_REDIS_CA_FILE: join(files.ca, "..", "used.pem") };
    copyFileSync(others.ca, env.LATCHKEY_REDIS_CA_FILE);
    const { connection, isReady } = await open(redisAt(`rediss://localhost:${tlsPort}`, env));
    expect(isReady).toBe(false);
    copyFileSync(files.ca, env.LATCHKEY_REDIS_CA_FILE);
    expect(await connection.ready(5_000)).toBe(true);
  });
});

it.skipIf(!canStart("redis"))("the limiter uses a socket file, and the database of its URL", async () => {
  const redis = await server("--unixsocket", "redis.sock");
  const [, path] = await told(redis.port, (client) => client.config("GET", "dir") as Promise<[string, string]>);
  const { limiter, isReady } = await open(redisAt(`unix://${path}/redis.sock?db=3`));
  expect(isReady).toBe(true);
  await limiter.decide(request());
  expect(await keysOf(redis.port, 3)).toHaveLength(1);
  expect(await keysOf(redis.port, 0)).toEqual([]);
});

describe.skipIf(!canStart("redis"))("a user with few rights", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/CONFIG.md"), "utf8");
  const [, rule = ""] = /^ACL SETUSER latchkey (.*)$/m.exec(page)!;
  const words = rule.split(" ");
  const userOf = (redis: RedisServer, rules: readonly string[]) =>
    redisCommand(redis.port, "ACL", "SETUSER", "latchkey", ...rules);
  const limits = [{ name: "a", perMinute: 5, perDay: 5 }];
  const asked = { subject: "s", cost: 1, limits };

  it("does everything with the rights that docs/CONFIG.md lists", async () => {
    const redis = await server();
    await userOf(redis, words);
    const { limiter, log, connection } = await open(redisAt(urlOf(redis, "latchkey:password@")));
    await expectHealthy(limiter);
    await redisCommand(redis.port, "SCRIPT", "FLUSH");
    await limiter.decide(asked);
    await limiter.reset("s", ["a"]);
    expect(await limiter.decide(asked)).toMatchObject({
      degraded: false,
      windows: [{ remaining: 4 }, { remaining: 4 }],
    });
    connection.renew("");
    await eventually(async () => expect(await connection.ready(1)).toBe(true));
    expect(log.lines.map(({ fields }) => fields.cause)).not.toContain("NOPERM");
    expect(await told(redis.port, (client) => client.acl("LOG")), "Redis refused nothing").toEqual([]);
  });

  it.each(words.filter((word) => word.startsWith("+")))("needs %s", async (word) => {
    const redis = await server();
    await userOf(
      redis,
      words.filter((one) => one !== word),
    );
    const { limiter, causes } = await open(redisAt(urlOf(redis, "latchkey:password@")));
    if (word === "+info") {
      await eventually(() => expect(causes()).toEqual(["NOPERM"]));
      await expectHealthy(limiter);
      return;
    }
    if (word === "+del") {
      await expect(limiter.reset("s", [])).rejects.toMatchObject({ reason: "LIMITS_UNAVAILABLE" });
      return;
    }
    // The store writes a first call and a second one in the same second by different commands.
    await eventually(async () => {
      await limiter.decideAll([request(), request(1_000_000, "same"), request(1_000_000, "same")]);
      expect(causes()).toContain("NOPERM");
    });
  });

  it("needs +select for another database", async () => {
    const redis = await server();
    await userOf(redis, words);
    const one = await open(redisAt(urlOf(redis, "latchkey:password@", "/1")));
    expect(one.isReady).toBe(false);
    expect(one.causes()).toContain("NOPERM");
    await userOf(redis, ["+select"]);
    expect(await one.connection.ready(5_000)).toBe(true);
    await one.limiter.decide(request());
    expect(await keysOf(redis.port, 1)).toHaveLength(1);
    expect(await keysOf(redis.port, 0)).toEqual([]);
  });

  it("needs the rights of docs/CONFIG.md on a cluster", async () => {
    const redis = await server("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1");
    await redisCommand(redis.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await clusterIsUp(redis.port);
    const [, more = ""] = /REDIS_CLUSTER_NODES also needs `([^`]*)` on every\s+node/.exec(page)!;
    await userOf(redis, [...words, ...more.split(" ")]);
    const { limiter, isReady } = await open(clusterAt(urlOf(redis, "latchkey:password@")));
    expect(isReady).toBe(true);
    await expectHealthy(limiter);
    await userOf(redis, ["reset", ...words]);
    const without = await open(clusterAt(urlOf(redis, "latchkey:password@")));
    expect(without.isReady).toBe(false);
    expect(without.causes()).toContain("NOPERM");
  });
});

describe.skipIf(!canStart("redis"))("a Redis that does not match the configuration", () => {
  const startCluster = async () => {
    const node = await server("--cluster-enabled", "yes");
    await redisCommand(node.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await clusterIsUp(node.port);
    return node;
  };

  it.each<
    [
      what: string,
      start: () => Promise<RedisServer>,
      env: (redis: RedisServer) => Record<string, string>,
      reason: RegExp,
    ]
  >([
    [
      "a node of a cluster",
      startCluster,
      (redis) => ({ REDIS_URL: urlOf(redis) }),
      /REDIS_CLUSTER_NODES to its nodes instead/,
    ],
    [
      "no cluster",
      () => server(),
      (redis) => ({ REDIS_CLUSTER_NODES: `127.0.0.1:${redis.port}` }),
      /set REDIS_URL instead/,
    ],
    [
      "without the database",
      () => server("--databases", "16"),
      (redis) => ({ REDIS_URL: urlOf(redis, "", "/16") }),
      /no database of the number/,
    ],
  ])("(%s) stops the start with one line", async (_what, start, env, reason) => {
    const redis = await start();
    await using service = spawnService(serviceEnvironment(env(redis)));
    expect(await service.ended()).toBe(1);
    const errors = service
      .output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line))
      .filter(({ level }) => level >= 50);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ msg: "the service could not start", reason: expect.stringMatching(reason) });
    expect(await keysOf(redis.port).catch(() => [])).toEqual([]);
  });

  it.each<[what: string, start: () => Promise<RedisServer>, cause: string]>([
    ["a node of a cluster", startCluster, "CLUSTER_NODE"],
    ["a server without the database", () => server("--databases", "1"), "NO_DATABASE"],
  ])("(%s) that appears later is logged, and the limiter counts nothing there", async (_what, start, cause) => {
    const [redis, wrong] = [await server(), await start()];
    const way = await startSwitch(redis.port);
    const database = cause === "NO_DATABASE" ? 5 : 0;
    const { limiter, causes } = await open(redisAt(`redis://127.0.0.1:${way.port}/${database}`));
    await expectHealthy(limiter);
    way.leadTo(wrong.port);
    await eventually(() => expect(causes()).toContain(cause));
    for (let call = 0; call < 50; call++) expect(await limiter.decide(request())).toMatchObject({ degraded: true });
    expect(await keysOf(wrong.port)).toEqual([]);
    way.leadTo(redis.port);
    await eventually(async () => expect(await limiter.decide(request())).toMatchObject({ degraded: false }));
  });

  it("would get counts in database 0 from the client library alone: the control", async () => {
    const wrong = await server("--databases", "1");
    const client = new Redis({ port: wrong.port, db: 5 });
    client.on("error", () => {});
    closing.push(() => client.disconnect());
    await client.set("latchkey:control", "1");
    expect(await keysOf(wrong.port)).toEqual(["latchkey:control"]);
  });
});

describe.skipIf(!canStart("redis"))("a Redis that evicts", () => {
  it("leads to one warning for each new policy at a connect, and to a count of its evicted keys", async () => {
    const redis = await server("--maxmemory", "4mb");
    const { log, connection, isReady } = await open(redisAt(urlOf(redis)));
    expect(isReady).toBe(true);
    const policies = () => log.lines.map(({ fields }) => fields.policy).filter((policy) => policy !== undefined);
    const reconnect = async () => {
      const again = once(connection.client, "ready");
      await told(redis.port, (client) => client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"));
      await again;
      await eventually(async () => expect(await connection.ready(100)).toBe(true));
    };
    expect(policies(), "noeviction is what is wanted").toEqual([]);
    for (const policy of ["allkeys-lru", "volatile-ttl"]) {
      await redisCommand(redis.port, "CONFIG", "SET", "maxmemory-policy", policy);
      await reconnect();
      await eventually(() => expect(policies().at(-1)).toBe(policy));
    }
    await reconnect();
    expect(policies(), "each once").toEqual(["allkeys-lru", "volatile-ttl"]);
    expect(log.lines.find(({ fields }) => fields.policy)!.fields.advice).toMatch(/noeviction/);
    expect(connection.evictedKeys).toBe(0);
    await redisCommand(redis.port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    await redisCommand(redis.port, "EVAL", "for i = 1, 4000 do redis.call('SET', i, string.rep('x', 2000)) end", "0");
    const evicted = await told(redis.port, async (client) =>
      Number(/evicted_keys:(\d+)/.exec(await client.info("stats"))![1]),
    );
    expect(evicted, "the fault happened").toBeGreaterThan(100);
    await reconnect();
    await eventually(() => expect(connection.evictedKeys).toBeGreaterThanOrEqual(evicted));
    expect(log.lines.map(({ fields }) => fields.evicted).filter(Number)).toEqual([expect.any(Number)]);
  });
});

describe.skipIf(!canStart("redis"))("the log names the cause of a fault", () => {
  it.each<[code: string, begin: (port: number) => Promise<unknown>, end: (port: number) => Promise<unknown>]>([
    [
      "READONLY",
      (port) => redisCommand(port, "REPLICAOF", "127.0.0.1", "1"),
      (port) => redisCommand(port, "REPLICAOF", "NO", "ONE"),
    ],
    [
      "OOM",
      (port) => redisCommand(port, "CONFIG", "SET", "maxmemory", "1"),
      (port) => redisCommand(port, "CONFIG", "SET", "maxmemory", "0"),
    ],
    [
      "NOREPLICAS",
      (port) => redisCommand(port, "CONFIG", "SET", "min-replicas-to-write", "1"),
      (port) => redisCommand(port, "CONFIG", "SET", "min-replicas-to-write", "0"),
    ],
    [
      "MISCONF",
      async (port) => {
        await redisCommand(port, "CONFIG", "SET", "save", "3600 1000000");
        await told(port, async (client) => {
          const [, folder] = (await client.config("GET", "dir")) as [string, string];
          // Redis can't write the file, because a folder has its name.
          mkdirSync(join(folder, "dump.rdb"));
          await client.bgsave();
        });
        await eventually(async () => {
          const info = await told(port, (client) => client.info("persistence"));
          expect(info).toContain("rdb_last_bgsave_status:err");
        });
      },
      async (port) => {
        await redisCommand(port, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no");
        // With `save` set, Redis would not stop before it has saved.
        await redisCommand(port, "CONFIG", "SET", "save", "");
      },
    ],
  ])("%s once, and the limiter recovers when the fault ends", async (code, begin, end) => {
    const redis = await server();
    const { limiter, causes, log } = await open(redisAt(urlOf(redis)));
    await expectHealthy(limiter);
    await begin(redis.port);
    await eventually(async () => {
      expect(await limiter.decide(request())).toMatchObject({ degraded: true });
      expect(limiter.isDegraded()).toBe(true);
    });
    await eventually(() => expect(causes()).toContain(code));
    expect(log.lines.find(({ fields }) => fields.cause === code)!.fields.advice).toEqual(expect.any(String));
    await end(redis.port);
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
    expect(new Set(causes()).size, "each once").toBe(causes().length);
  });

  it("WRONGPASS after the password has changed, and NOAUTH without a password", async () => {
    const redis = await server();
    await redisCommand(redis.port, "ACL", "SETUSER", "latchkey", "on", ">old", "~*", "+@all");
    const { limiter, causes, log } = await open(redisAt(urlOf(redis, "latchkey:old@")));
    await expectHealthy(limiter);
    await redisCommand(redis.port, "ACL", "SETUSER", "latchkey", "resetpass", ">new");
    await expectHealthy(limiter);
    await redisCommand(redis.port, "CLIENT", "KILL", "USER", "latchkey");
    await eventually(() => expect(causes()).toContain("WRONGPASS"));
    expect(await limiter.decide(request())).toMatchObject({ degraded: true });
    expect(JSON.stringify(log.lines)).not.toMatch(/old|new/);
    await redisCommand(redis.port, "ACL", "SETUSER", "latchkey", ">old");
    await eventually(async () => expect(await limiter.decide(request())).toMatchObject({ degraded: false }));
    await redisCommand(redis.port, "CONFIG", "SET", "requirepass", "secret");
    const without = await open(redisAt(urlOf(redis)));
    expect(without.isReady).toBe(false);
    expect(without.causes()).toContain("NOAUTH");
  });
});

it.skipIf(!canStart("redis"))(
  "a Redis that is back learns a subject's 40,000 names one by one, as calls ask for them",
  async () => {
    const redis = await server();
    const { limiter, log } = await open(redisAt(urlOf(redis)));
    await expectHealthy(limiter);
    await redis.kill();
    await eventually(async () => {
      await limiter.decide(request());
      expect(limiter.isDegraded()).toBe(true);
    });
    const named = (at: number, cost: number) => ({
      subject: "many",
      cost,
      limits: [{ name: `n${at}`, perMinute: 5, perDay: undefined }],
    });
    const admitted = await limiter.decideAll(Array.from({ length: 40_000 }, (_, at) => named(at, 1)));
    expect(admitted.filter(({ allowed, degraded }) => allowed && degraded)).toHaveLength(40_000);
    await redis.restart();
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
    const outages = () =>
      log.lines.filter(({ message }) => message.startsWith("Redis is unreachable: this process judges")).length;
    const before = outages();
    expect(before, "the fault happened").toBeGreaterThan(0);
    const others: boolean[] = [];
    for (let call = 0; call < 257; call++) {
      const [look, other] = await Promise.all([limiter.decide(named(call, 0)), limiter.decide(request())]);
      if (!look.degraded) expect(look.windows[0]!.remaining).toBe(4);
      others.push(other.degraded);
    }
    // The limiter sent one key for each name in a call. An earlier version sent all 40,000 with the first call.
    expect(Number(await redisCommand(redis.port, "DBSIZE"))).toBeLessThan(1_000);
    expect(others.filter((degraded) => degraded).length).toBeLessThan(others.length / 4);
    expect(outages() - before, "the breaker stays closed").toBeLessThanOrEqual(1);
  },
);
