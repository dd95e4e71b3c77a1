/** Production starts with secrets that are none, or with the default issuer: each is refused with its own line. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ConfigError, type Environment, readConfig } from "../../src/config/config.ts";

const PRODUCTION: Environment = Object.freeze({
  NODE_ENV: "production",
  DATABASE_URL: "postgres://latchkey:pw@db.internal/latchkey?sslrootcert=system",
  REDIS_URL: "rediss://redis.internal:6379",
  LATCHKEY_MASTER_KEYS: `1:${randomBytes(32).toString("base64")}`,
  LATCHKEY_ISSUER: "https://auth.example.com",
});

/** The faults of production after a change to an environment that it accepts. Development accepts the change. */
function refusedOf(change: Environment): readonly string[] {
  expect(faultsOf({ ...PRODUCTION, ...change, NODE_ENV: "development" }), "development starts").toEqual([]);
  return faultsOf({ ...PRODUCTION, ...change });
}

it("production accepts the environment that each test changes", () => {
  expect(refusedOf({})).toEqual([]);
});

describe("a master key", () => {
  const key = (bytes: Uint8Array | string) => ({ LATCHKEY_MASTER_KEYS: `7:${Buffer.from(bytes).toString("base64")}` });

  it.each<[what: string, bytes: Uint8Array | string]>([
    ["a passphrase", "correct horse battery staple, and thirty-two more"],
    ["a passphrase of another script", "правильная лошадь батарея скоба"],
    // Of random digits a quarter lacks one of the sixteen, and is called a pattern instead.
    ["hexadecimal digits, encoded once more", "4749c89d2ce95e744076a3924df5bb4809abe1d64bd26a011b2674d3ae5ac1fe"],
    ["base64 with its line break, encoded once more", `${randomBytes(32).toString("base64")}\n`],
  ])("that is %s is refused as text", (_what, bytes) => {
    expect(refusedOf(key(bytes))).toEqual([expect.stringMatching(/^LATCHKEY_MASTER_KEYS: version 7 is text and not/)]);
  });

  it.each<[what: string, bytes: Uint8Array | string]>([
    ["one byte again and again", Buffer.alloc(32, 0xa7)],
    ["a short password filled up with zeros", Buffer.concat([Buffer.from("hunter2hunter2"), Buffer.alloc(18)])],
    ["16 random bytes twice", Buffer.concat(Array(2).fill(Buffer.from(Array.from({ length: 16 }, (_, i) => 200 + i))))],
  ])("that is %s is refused as not random", (_what, bytes) => {
    expect(refusedOf(key(bytes))).toEqual([expect.stringMatching(/^LATCHKEY_MASTER_KEYS: version 7 is not random/)]);
  });

  it("is refused with a line of its own", () => {
    const keys = [1, 2].map(
      (version) => `${version}:${Buffer.from(`passphrase number ${version}, long enough`).toString("base64")}`,
    );
    expect(refusedOf({ LATCHKEY_MASTER_KEYS: keys.join(",") })).toHaveLength(2);
  });

  it("of random bytes is accepted, 10,000 times of 10,000", () => {
    const refused = Array.from({ length: 10_000 }, () => randomBytes(32)).filter(
      (bytes) => faultsOf({ ...PRODUCTION, ...key(bytes) }).length > 0,
    );
    expect(refused).toEqual([]);
  });
});

describe("a password", () => {
  it.each<[what: string, change: Environment, setting: string]>([
    [
      "of docker-compose.yml",
      { DATABASE_URL: "postgres://latchkey:development@postgres:5432/latchkey?sslrootcert=system" },
      "DATABASE_URL",
    ],
    [
      "of docker-compose.yml, escaped",
      { DATABASE_URL: "postgres://latchkey:%64evelopment@db/latchkey?sslrootcert=system" },
      "DATABASE_URL",
    ],
    [
      "of the image's documentation",
      { DATABASE_URL: "postgres://postgres:mysecretpassword@db/latchkey?sslrootcert=system" },
      "DATABASE_URL",
    ],
    [
      "that is the user's own name",
      { DATABASE_URL: "postgres://Keeper:keeper@db/latchkey?sslrootcert=system" },
      "DATABASE_URL",
    ],
    ["of docker-compose.yml for Redis", { REDIS_URL: "rediss://:development@redis:6379" }, "REDIS_URL"],
    [
      "of redis.conf",
      { REDIS_URL: undefined, REDIS_CLUSTER_NODES: "rediss://:foobared@a,rediss://:foobared@b" },
      "REDIS_CLUSTER_NODES",
    ],
  ])("%s is refused", (_what, change, setting) => {
    expect(refusedOf(change)).toEqual([expect.stringMatching(`^${setting}: has a password that anyone can look up`)]);
  });

  it.each<[what: string, change: Environment]>([
    [
      "none at all, as with a client certificate",
      { DATABASE_URL: "postgres://latchkey@db/latchkey?sslrootcert=system" },
    ],
    [
      "one with a percent sign that begins no escape",
      { DATABASE_URL: "postgres://latchkey:100%25sure@db/latchkey?sslrootcert=system" },
    ],
    ["one that only contains a published one", { REDIS_URL: "rediss://:development-3fa9@redis:6379" }],
  ])("%s is the server's matter", (_what, change) => {
    expect(refusedOf(change)).toEqual([]);
  });
});

describe("an issuer", () => {
  it("that is not set is refused, with the form to set", () => {
    expect(refusedOf({ LATCHKEY_ISSUER: undefined })).toEqual([expect.stringMatching(/^LATCHKEY_ISSUER: must be set/)]);
  });

  it("that is not set is refused even if http is allowed", () => {
    expect(refusedOf({ LATCHKEY_ISSUER: undefined, LATCHKEY_ALLOW_HTTP_ISSUER: "true" })).toHaveLength(1);
  });

  it.each(["http://auth.example.com", "HTTP://auth.example.com", "http://localhost:9090"])(
    "such as %s is refused, except with its flag",
    (issuer) => {
      expect(refusedOf({ LATCHKEY_ISSUER: issuer })).toEqual([
        expect.stringMatching(/^LATCHKEY_ISSUER: must be an https URL/),
      ]);
      expect(refusedOf({ LATCHKEY_ISSUER: issuer, LATCHKEY_ALLOW_HTTP_ISSUER: "true" })).toEqual([]);
    },
  );

  it.each(["https://auth.example.com/", "https://auth.example.com:8443/tenants/a"])(
    "such as %s is kept letter by letter",
    (issuer) => {
      expect(readConfig({ ...PRODUCTION, LATCHKEY_ISSUER: issuer }).issuer).toBe(issuer);
    },
  );
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
