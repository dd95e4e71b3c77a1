/** The meaning of REDIS_URL and REDIS_CLUSTER_NODES, and the forms that are refused. */
import { describe, expect, it } from "vitest";
import { ConfigError, type Environment, readConfig } from "../../src/config/config.ts";

/** Part of every text that must not be told. */
const SECRET = "kanarienvogel";

const NO_FILES = { ca: undefined, cert: undefined, key: undefined };
const single = (at: object, rest: object = {}) => ({
  kind: "single",
  at,
  database: 0,
  tls: false,
  username: undefined,
  password: undefined,
  tlsFiles: NO_FILES,
  ...rest,
});
const at = (host: string, port = 6379) => ({ host, port });

function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("REDIS_URL means", () => {
  it.each<[url: string, meaning: object]>([
    ["redis://redis", single(at("redis"))],
    ["redis://redis/", single(at("redis"))],
    ["REDIS://Redis.Example.com:7000", single(at("Redis.Example.com", 7000))],
    ["redis://10.0.0.1:7000/3", single(at("10.0.0.1", 7000), { database: 3 })],
    ["redis://10.0.0.1?db=3", single(at("10.0.0.1"), { database: 3 })],
    ["redis://10.0.0.1/?db=3", single(at("10.0.0.1"), { database: 3 })],
    ["redis://a/2147483646", single(at("a"), { database: 2_147_483_646 })],
    ["redis://[::1]", single(at("::1"))],
    ["redis://[::1]:7000/1", single(at("::1", 7000), { database: 1 })],
    ["redis://[fe80::1%25eth0]", single(at("fe80::1%eth0"))],
    ["redis://:pw@a", single(at("a"), { password: "pw" })],
    ["redis://me:pw@a", single(at("a"), { username: "me", password: "pw" })],
    ["redis://m%40e:p%40s%2Fs%3A%25%23%3F@a", single(at("a"), { username: "m@e", password: "p@s/s:%#?" })],
    ["redis://me:p@s:s@a", single(at("a"), { username: "me", password: "p@s:s" })],
    ["redis://:p%C3%A9@a", single(at("a"), { password: "pé" })],
    ["redis://:p+w@a", single(at("a"), { password: "p+w" })],
    ["rediss://me:pw@a:6380", single(at("a", 6380), { tls: true, username: "me", password: "pw" })],
    ["unix:///run/redis.sock", single({ socket: "/run/redis.sock" })],
    ["unix:///run/my%20redis.sock?db=2", single({ socket: "/run/my redis.sock" }, { database: 2 })],
    ["unix://me:pw@/run/redis.sock", single({ socket: "/run/redis.sock" }, { username: "me", password: "pw" })],
    ["/run/redis.sock", single({ socket: "/run/redis.sock" })],
    ["/run/redis.sock?db=2", single({ socket: "/run/redis.sock" }, { database: 2 })],
  ])("%s", (url, meaning) => {
    expect(readConfig({ REDIS_URL: url }).redis).toEqual(meaning);
  });
});

describe("REDIS_URL is refused, without a word of its password, for", () => {
  const NUMBER = /nothing but the database's number as its path/;
  const HOST = /one host, IPv6 in brackets/;
  it.each<[what: string, url: string, fault: RegExp]>([
    ["another protocol", `http://:${SECRET}@a`, /redis:\/\/, rediss:\/\/ or unix:\/\//],
    ["a protocol of other clients", `redis+socket:///${SECRET}`, /redis:\/\/, rediss:\/\/ or unix:\/\//],
    ["no protocol", SECRET, /redis:\/\/, rediss:\/\/ or unix:\/\//],
    ["one slash", `redis:/${SECRET}`, /redis:\/\/, rediss:\/\/ or unix:\/\//],
    ["a path that is no number", `redis://a/${SECRET}`, NUMBER],
    ["a negative database", "redis://a/-1", NUMBER],
    ["a fraction", "redis://a/1.5", NUMBER],
    ["a database with a zero in front", "redis://a/01", NUMBER],
    ["a database in another script", "redis://a/%D9%A1", NUMBER],
    ["a database above an int", "redis://a/2147483647", NUMBER],
    ["two segments", "redis://a/1/2", NUMBER],
    ["an empty segment in front", "redis://a//1", NUMBER],
    ["an empty segment behind", "redis://a/1/", NUMBER],
    ["two slashes", "redis://a//", NUMBER],
    ["db that is no number", "redis://a?db=x", /a number from 0 to \d+ as db/],
    ["db with a percent", "redis://a?db=%33", /a number from 0 to \d+ as db/],
    ["db without a value", "redis://a?db", /a number from 0 to \d+ as db/],
    ["db twice", "redis://a?db=1&db=2", /db once/],
    ["db and a path", "redis://a/1?db=1", /the database once/],
    ["a parameter of ioredis", "redis://a?family=6", /the parameter family: db is the only one/],
    ["a parameter of others", "redis://a/1?ssl_cert_reqs=none", /the parameter ssl_cert_reqs: db is the only one/],
    ["a parameter without a name", "redis://a?=1", /a parameter: db is the only one/],
    ["an empty query", "redis://a?", /a parameter: db is the only one/],
    ["a password as a parameter", `redis://a?password=${SECRET}`, /the parameter password: db is the only one/],
    ["a fragment", `redis://a#${SECRET}`, /must not have a #/],
    ["no host", "redis://", HOST],
    ["a password and no host", `redis://:${SECRET}@`, HOST],
    ["two hosts", "redis://a,b", HOST],
    ["IPv6 without brackets", "redis://::1", HOST],
    ["what is no IPv6 in brackets", "redis://[a]", HOST],
    ["a host with a percent", "redis://a%2e", HOST],
    ["an empty port", "redis://a:", /port from 1 to 65535/],
    ["port 0", "redis://a:0", /port from 1 to 65535/],
    ["a port that is too large", "redis://a:65536", /port from 1 to 65535/],
    ["a port that is no number", `redis://a:${SECRET}`, /port from 1 to 65535/],
    ["a user alone", `redis://${SECRET}@a`, /a password before the @/],
    ["a user with an empty password", `redis://${SECRET}:@a`, /a password before the @/],
    ["an empty password", "redis://:@a", /a password before the @/],
    ["a bad percent", `redis://:${SECRET}%@a`, /percent-encode the password: write %25/],
    ["bytes that are no UTF-8", `redis://:${SECRET}%FF@a`, /percent-encode the password/],
    ["a slash in the password", `redis://:${SECRET}/${SECRET}@a`, HOST],
    ["a # in the password", `redis://:${SECRET}#${SECRET}@a`, /in a password write %23/],
    ["a ? in the password", `redis://:${SECRET}?${SECRET}@a`, /in a password write %3F/],
    ["a ? and what looks like a parameter in the password", `redis://:1?${SECRET}=1@a`, /in a password write %3F/],
    ["a space", `redis://:${SECRET} x@a`, /spaces or control characters/],
    ["a line break", `redis://:${SECRET}\nx@a`, /spaces or control characters/],
    ["a socket with a host", "unix://run/redis.sock", /without a host/],
    ["a socket that is a folder", "unix:///run/", /the socket's file/],
    ["a socket without a path", "unix://", /the socket's file/],
    ["a socket with a long path", `unix:///${"r".repeat(107)}`, /at most 107 bytes/],
  ])("%s", (_what, url, fault) => {
    const faults = faultsOf({ REDIS_URL: url });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^REDIS_URL: must /);
    expect(faults[0]).toMatch(fault);
    expect(faults[0]).not.toContain(SECRET);
  });

  it("several faults, which are all named at once", () => {
    expect(faultsOf({ REDIS_URL: "redis://me@a:0/x?tls=true#y" })[0]!.split("; must ")).toHaveLength(5);
  });
});

describe("REDIS_CLUSTER_NODES", () => {
  const cluster = (nodes: readonly object[], rest: object = {}) => {
    const { at: _, database, ...access } = single({}) as Record<string, unknown>;
    return { ...access, kind: "cluster", nodes, ...rest };
  };
  it.each<[nodes: string, meaning: object]>([
    ["a:1,[::1]:2", cluster([at("a", 1), at("::1", 2)])],
    ["redis://a, redis://b:7", cluster([at("a"), at("b", 7)])],
    ["redis://:p%40s@a", cluster([at("a")], { password: "p@s" })],
    ["redis://:p%2Cs@a,redis://:p%2Cs@b", cluster([at("a"), at("b")], { password: "p,s" })],
    [
      "rediss://me:pw@a:1,rediss://me:pw@[::1]/",
      cluster([at("a", 1), at("::1")], { tls: true, username: "me", password: "pw" }),
    ],
  ])("%s", (nodes, meaning) => {
    expect(readConfig({ REDIS_CLUSTER_NODES: nodes }).redis).toEqual(meaning);
  });

  it.each<[what: string, nodes: string, fault: RegExp]>([
    [
      "another password in one",
      `redis://:${SECRET}@a,redis://:other-${SECRET}@b`,
      /the same protocol, user and password/,
    ],
    ["a password in one alone", `redis://:${SECRET}@a,b:1`, /the same protocol, user and password/],
    ["TLS in one alone", "rediss://a,redis://b", /the same protocol, user and password/],
    ["a database", `redis://:${SECRET}@a/1`, /node 1: must be without a path/],
    ["a database as db", `a:1,redis://:${SECRET}@a?db=0`, /node 2: must be without a path/],
    ["another protocol", `http://:${SECRET}@a`, /node 1: must be a URL that starts with redis/],
    ["no port", SECRET, /node 1: must be host:port/],
    ["an empty node", "a:1,,b:1", /node 2: must be host:port/],
    ["a comma at the end", "a:1,", /node 2: must be host:port/],
    ["a comma in the password", `redis://:${SECRET},${SECRET}@a`, /node 1: .*; node 2: /],
    ["a socket", "unix:///run/redis.sock", /node 1: must be a host/],
  ])("is refused for %s, without a word of its password", (_what, nodes, fault) => {
    const faults = faultsOf({ REDIS_CLUSTER_NODES: nodes });
    expect(faults).toEqual([expect.stringMatching(fault)]);
    expect(faults.join()).not.toContain(SECRET);
  });
});

describe("files for TLS", () => {
  const files = { LATCHKEY_REDIS_CA_FILE: "ca", LATCHKEY_REDIS_CERT_FILE: "cert", LATCHKEY_REDIS_KEY_FILE: "key" };

  it("belong to rediss://", () => {
    const { redis } = readConfig({ REDIS_URL: "rediss://a", ...files });
    expect(redis?.tlsFiles).toEqual({ ca: "ca", cert: "cert", key: "key" });
  });

  it("are refused if no connection would read them, as is a certificate without its key", () => {
    expect(faultsOf({ REDIS_URL: "redis://a", LATCHKEY_REDIS_CA_FILE: "ca" })).toEqual([
      expect.stringMatching(/^LATCHKEY_REDIS_CA_FILE: is for TLS; write rediss:/),
    ]);
    expect(faultsOf(files)).toHaveLength(3);
    expect(faultsOf({ REDIS_URL: "rediss://a", LATCHKEY_REDIS_KEY_FILE: "key" })).toEqual([
      expect.stringMatching(/set both or neither/),
    ]);
  });
});

describe("in production", () => {
  const production = (redis: Environment): Environment => ({
    NODE_ENV: "production",
    LATCHKEY_ALLOW_EMBEDDED_DATABASE: "true",
    LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7)).toString("base64")}`,
    ...redis,
  });
  /** Only what is about Redis: other rules are tested elsewhere. */
  const redisFaults = (redis: Environment) => faultsOf(production(redis)).filter((fault) => /REDIS/.test(fault));

  it.each<[redis: Environment]>([
    [{ REDIS_URL: "redis://redis.internal" }],
    [{ REDIS_URL: "redis://10.0.0.1" }],
    [{ REDIS_URL: "redis://127.evil.test" }],
    [{ REDIS_URL: "redis://[::2]" }],
    [{ REDIS_CLUSTER_NODES: "127.0.0.1:1,redis:1" }],
  ])("plaintext to %j wants the flag", (redis) => {
    expect(redisFaults(redis)).toEqual([expect.stringContaining("LATCHKEY_ALLOW_PLAINTEXT_REDIS=true")]);
    expect(redisFaults({ ...redis, LATCHKEY_ALLOW_PLAINTEXT_REDIS: "true" })).toEqual([]);
  });

  it.each<[redis: Environment]>([
    [{ REDIS_URL: "rediss://redis.internal" }],
    [{ REDIS_URL: "redis://localhost" }],
    [{ REDIS_URL: "redis://127.0.0.2" }],
    [{ REDIS_URL: "redis://[::1]" }],
    [{ REDIS_URL: "unix:///run/redis.sock" }],
    [{ REDIS_CLUSTER_NODES: "127.0.0.1:1,[::1]:1" }],
    [{ REDIS_CLUSTER_NODES: "rediss://redis.internal" }],
  ])("%j needs none", (redis) => {
    expect(redisFaults(redis)).toEqual([]);
  });
});
