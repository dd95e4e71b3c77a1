import { describe, expect, it } from "vitest";
import { ConfigError, type Environment, readConfig, SETTINGS } from "../../src/config/config.ts";

const MASTER_KEY = `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7)).toString("base64")}`;

/** The smallest environment that production accepts. Each test of a refusal takes one thing away. */
const PRODUCTION: Environment = Object.freeze({
  NODE_ENV: "production",
  DATABASE_URL: "postgres://latchkey:pw@db.internal/latchkey?sslrootcert=system",
  REDIS_URL: "rediss://redis.internal:6379",
  LATCHKEY_MASTER_KEYS: MASTER_KEY,
  LATCHKEY_LISTEN: "127.0.0.1:8080",
  LATCHKEY_ISSUER: "https://auth.example.com",
});

describe("an empty environment", () => {
  const config = readConfig({});

  it("gives a service on loopback with the documented tiers", () => {
    expect(config.production).toBe(false);
    expect(config.listen).toEqual({ host: "127.0.0.1", port: 8080 });
    expect(config.opsListen).toEqual({ host: "127.0.0.1", port: 9464 });
    expect(config.tiers).toEqual([
      { name: "basic", perMinute: 20, perDay: 1000 },
      { name: "pro", perMinute: 60, perDay: 5000 },
      { name: "enterprise", perMinute: 300, perDay: 50_000 },
    ]);
    expect(config.environments).toEqual(["live", "test"]);
    expect(config.keyPrefix).toBe("kit");
    expect(config.accessTokenMs).toBe(1_800_000);
    expect(config.signingKeyMs).toBe(90 * 86_400_000);
  });

  it("runs embedded, with one warning for each development default", () => {
    expect(config.database).toBeUndefined();
    expect(config.redis).toBeUndefined();
    expect(config.masterKeys).toBeUndefined();
    expect(config.developmentWarnings).toHaveLength(4);
  });

  it("serves the page /docs, unless it is told not to", () => {
    expect(config.docsPage).toBe(true);
    expect(readConfig({ LATCHKEY_DOCS_PAGE: "false" }).docsPage).toBe(false);
  });

  it("is frozen, and reading it twice gives the same", () => {
    expect(Object.isFrozen(config)).toBe(true);
    expect(readConfig({})).toEqual(config);
  });
});

it("every default passes its own parser", () => {
  for (const row of Object.values(SETTINGS)) {
    if (row.default !== undefined) expect(() => row.parse(row.default ?? ""), row.name).not.toThrow();
  }
});

describe("production", () => {
  it("starts with a master key, PostgreSQL, Redis and a loopback listener, without a warning", () => {
    const config = readConfig(PRODUCTION);
    expect(config.production).toBe(true);
    expect(config.developmentWarnings).toEqual([]);
    expect(config.userScopes).toEqual([]);
  });

  it("serves the page /docs only if it is told to", () => {
    expect(readConfig(PRODUCTION).docsPage).toBe(false);
    expect(readConfig({ ...PRODUCTION, LATCHKEY_DOCS_PAGE: "true" }).docsPage).toBe(true);
  });

  const trivial = `1:${Buffer.alloc(32, 1).toString("base64")}`;
  it.each<[refused: string, change: Environment, fault: RegExp]>([
    ["no master key", { LATCHKEY_MASTER_KEYS: undefined }, /^LATCHKEY_MASTER_KEYS: must be set/],
    ["a master key that is not random", { LATCHKEY_MASTER_KEYS: trivial }, /^LATCHKEY_MASTER_KEYS: version 1 is not/],
    ["the embedded database", { DATABASE_URL: undefined }, /^DATABASE_URL: must be set in production/],
    ["the in-process limiter", { REDIS_URL: undefined }, /^REDIS_URL: must be set in production/],
    ["plaintext on all addresses", { LATCHKEY_LISTEN: "0.0.0.0:8080" }, /^LATCHKEY_LISTEN: plaintext on a public/],
    ["plaintext on a named host", { LATCHKEY_LISTEN: "127.evil.test:80" }, /^LATCHKEY_LISTEN: plaintext on a public/],
    [
      "every client as a proxy",
      { LATCHKEY_TRUSTED_PROXIES: "10.0.0.1,::/0" },
      /^LATCHKEY_TRUSTED_PROXIES: lets every client/,
    ],
    ["cheap memory", { LATCHKEY_ARGON2_MEMORY_KIB: "19455" }, /^LATCHKEY_ARGON2_MEMORY_KIB: must be at least 19456/],
    ["a single pass", { LATCHKEY_ARGON2_PASSES: "1" }, /^LATCHKEY_ARGON2_PASSES: must be at least 2/],
  ])("refuses %s with a line of its own", (_refused, change, fault) => {
    expect(faultsOf({ ...PRODUCTION, ...change })).toEqual([expect.stringMatching(fault)]);
    expect(() => readConfig({ ...PRODUCTION, ...change, NODE_ENV: "development" }), "development starts").not.toThrow();
  });

  it.each<[flag: string, change: Environment]>([
    ["LATCHKEY_ALLOW_EMBEDDED_DATABASE", { DATABASE_URL: undefined }],
    ["LATCHKEY_ALLOW_IN_PROCESS_LIMITS", { REDIS_URL: undefined }],
    ["LATCHKEY_ALLOW_PLAINTEXT", { LATCHKEY_LISTEN: "[::]:8080" }],
  ])("%s is an explicit way out", (flag, change) => {
    expect(faultsOf({ ...PRODUCTION, ...change })).toHaveLength(1);
    expect(() => readConfig({ ...PRODUCTION, ...change, [flag]: "true" })).not.toThrow();
  });

  it("names every refusal at once", () => {
    expect(faultsOf({ NODE_ENV: "production", LATCHKEY_LISTEN: "0.0.0.0:1" })).toHaveLength(5);
  });
});

describe("faults", () => {
  it("are all reported at once", () => {
    const faults = faultsOf({
      LATCHKEY_LISTEN: "8080",
      LATCHKEY_REPLICAS: "0",
      REDIS_URL: "http://x",
      LATCHKEY_TYPO: "1",
    });
    expect(faults.map((fault) => fault.split(":")[0])).toEqual([
      "LATCHKEY_REPLICAS",
      "LATCHKEY_LISTEN",
      "REDIS_URL",
      "LATCHKEY_TYPO",
    ]);
  });

  it.each<[wrong: string, env: Environment]>([
    ["a port above 65535", { LATCHKEY_LISTEN: "127.0.0.1:65536" }],
    ["IPv6 without brackets", { LATCHKEY_LISTEN: "::1:8080" }],
    ["yes instead of true", { LATCHKEY_REFLECTION: "yes" }],
    ["a fraction of a second", { LATCHKEY_DRAIN_SECONDS: "0.5" }],
    ["a master key of 31 bytes", { LATCHKEY_MASTER_KEYS: `1:${Buffer.alloc(31, 9).toString("base64")}` }],
    ["a master key version twice", { LATCHKEY_MASTER_KEYS: `${MASTER_KEY},${MASTER_KEY}` }],
    ["a reserved word as prefix", { LATCHKEY_KEY_PREFIX: "svc" }],
    ["an environment twice", { LATCHKEY_ENVIRONMENTS: "live,live" }],
    ["a tier twice", { LATCHKEY_TIERS: "a:1/1,a:2/2" }],
    ["a negative limit", { LATCHKEY_TIERS: "a:-1/1" }],
    ["an origin with a path", { LATCHKEY_CORS_ORIGINS: "https://example.com/" }],
    ["a network with too many bits", { LATCHKEY_TRUSTED_PROXIES: "10.0.0.0/33" }],
    ["a certificate without its key", { LATCHKEY_TLS_CERT_FILE: "cert.pem" }],
    ["workers on the embedded database", { LATCHKEY_WORKERS: "2", REDIS_URL: "redis://r" }],
    ["workers without Redis", { LATCHKEY_WORKERS: "2", DATABASE_URL: "postgres://u@d/x" }],
    ["one address for two ports", { LATCHKEY_LISTEN: "127.0.0.1:9464" }],
    ["Redis and Redis Cluster", { REDIS_URL: "redis://r", REDIS_CLUSTER_NODES: "a:1" }],
    [
      "two versions of the master key with the same bytes",
      { LATCHKEY_MASTER_KEYS: `${MASTER_KEY},2${MASTER_KEY.slice(1)}` },
    ],
    ["an issuer with a query", { LATCHKEY_ISSUER: "https://auth.example.com?tenant=a" }],
    ["an issuer with an empty query", { LATCHKEY_ISSUER: "https://auth.example.com/?" }],
    ["an issuer with a fragment", { LATCHKEY_ISSUER: "https://auth.example.com/#" }],
    ["an issuer with a password", { LATCHKEY_ISSUER: "https://me:secret@auth.example.com" }],
    ["a NODE_ENV that is misspelt and would be development", { NODE_ENV: "prod" }],
    ["a setting that does not exist", { LATCHKEY_REPLICA: "2" }],
    ["a variable of the ORM", { MIKRO_ORM_SCHEMA: "elsewhere" }],
  ])("%s", (_wrong, env) => {
    expect(faultsOf(env)).toHaveLength(1);
  });

  it("do not include the variable that the ORM sets by itself", () => {
    expect(faultsOf({ MIKRO_ORM_COLORS: "false" })).toEqual([]);
  });

  it("never repeat a value, because it may be a secret in the wrong place", () => {
    const canary = "kanarienvogel";
    for (const row of Object.values(SETTINGS)) {
      for (const value of [canary, `1:${canary}`, `${canary}://${canary}@host`, `${canary},${canary}`, `${canary} `]) {
        for (const mode of ["development", "production"]) {
          expect(messageOf({ NODE_ENV: mode, [row.name]: value }), row.name).not.toContain(canary);
        }
      }
    }
  });
});

describe("values", () => {
  it("of a tier are `-` for no limit and 0 for nothing allowed", () => {
    expect(readConfig({ LATCHKEY_TIERS: "none:0/-" }).tiers).toEqual([
      { name: "none", perMinute: 0, perDay: undefined },
    ]);
  });

  it("of an unset variable and of an empty one are the same if there is no default", () => {
    expect(readConfig({ DATABASE_URL: "", REDIS_URL: "" })).toEqual(readConfig({}));
  });

  it("of LATCHKEY_USER_SCOPES replace the default of development", () => {
    expect(readConfig({ LATCHKEY_USER_SCOPES: "orders:*, users:read" }).userScopes).toEqual(["orders:*", "users:read"]);
  });

  it("may give an address for a network of one", () => {
    expect(readConfig({ LATCHKEY_TRUSTED_PROXIES: "10.1.2.3,::1" }).trustedProxies).toEqual(["10.1.2.3/32", "::1/128"]);
  });

  it("keep the order of master keys, of which the first protects new data", () => {
    const other = `2:${Buffer.from(Array.from({ length: 40 }, (_, i) => 255 - i)).toString("base64")}`;
    const keys = readConfig({ LATCHKEY_MASTER_KEYS: `${other},${MASTER_KEY}` }).masterKeys;
    expect(keys?.map((key) => [key.version, key.bytes.length])).toEqual([
      [2, 40],
      [1, 32],
    ]);
  });
});

function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

function messageOf(env: Environment): string {
  return faultsOf(env).join("\n");
}
