/** The service and a client judge by the same code, and so alike. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compileNetworks } from "../../../src/keys/allowed-ips.ts";
import { checkUse, type VerifyKeyInput } from "../../../src/keys/check-use.ts";
import { judgeKey } from "../../../src/keys/judge-key.ts";
import type { Key, KeyOwner } from "../../../src/keys/key.ts";
import type { KeyRecord } from "../../../src/keys/key-records.ts";
import { ownLimit } from "../../../src/keys/limit-requests.ts";
import { Tiers } from "../../../src/keys/tiers.ts";
import { knownRecord } from "../../../src/keys/verdict.ts";
import { VERDICTS, verdictKey } from "../../../src/rpc/handlers/key-messages.ts";
import { readSource } from "../../support/source-file.ts";
import { targetsOf } from "../../tidy/rules.ts";
import { keyId, NearWorld, rawKey } from "./near-world.ts";

const root = join(import.meta.dirname, "../../..");
/** The files of the judgement that service and client share. */
const SHARED = ["judge-key", "check-use", "key-form", "globs", "allowed-ips", "limit-requests", "key"].map(
  (name) => `src/keys/${name}.ts`,
);
const PACKAGES_OF_THE_CLIENT = /^(node:|@bufbuild\/protobuf(\/|$))/;

/** Every file that is reached, types included, and every package that one of them imports. */
function closureOf(entries: readonly string[]): { files: string[]; packages: string[] } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (path: string) => {
    if (files.has(path)) return;
    files.add(path);
    const source = readSource(path, readFileSync(join(root, path), "utf8"));
    for (const each of source.imports) if (!each.startsWith(".")) packages.add(each);
    for (const target of targetsOf(source)) visit(target);
  };
  for (const entry of entries) visit(entry);
  return { files: [...files].sort(), packages: [...packages].sort() };
}

describe("the shared judgement", () => {
  it("imports nothing but modules of Node, in all that it reaches", () => {
    const { files, packages } = closureOf(SHARED);
    expect(packages.filter((name) => !name.startsWith("node:"))).toEqual([]);
    expect(files.filter((path) => !/^src\/(keys|lib|limits)\//.test(path))).toEqual([]);
  });

  it("is so also for the cache of denials and the breaker", () => {
    const { packages } = closureOf(["src/limits/full-windows.ts", "src/changes/database-breaker.ts"]);
    expect(packages.filter((name) => !name.startsWith("node:"))).toEqual([]);
  });

  it("is what the near cache reaches of the service, beside the contract and the tags of changes", () => {
    const { files, packages } = closureOf(["client/src/near/near-cache.ts"]);
    const others = files.filter((path) => !/^(client|src\/(keys|lib|gen|answers))\//.test(path));
    // limit.ts imports limit-counts.ts for a type alone.
    expect(others).toEqual(["src/changes/tags.ts", "src/limits/limit-counts.ts", "src/limits/limit.ts"]);
    expect(packages.filter((name) => !PACKAGES_OF_THE_CLIENT.test(name))).toEqual(["@connectrpc/connect"]);
    expect(files).toEqual(expect.arrayContaining(["src/keys/judge-key.ts", "src/keys/check-use.ts"]));
  });
});

/** A generator of numbers from 0 to 1 (mulberry32), so that a failure comes again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = seeded(12);
const oneOf = <T>(...values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
const someOf = <T>(...values: readonly T[]): T[] => values.filter(() => random() < 0.4);
const oftenNone = <T>(make: () => T[]): T[] => (random() < 0.6 ? [] : make());

const TIERS = new Tiers([
  { name: "basic", perMinute: 20, perDay: 1000 },
  { name: "pro", perMinute: undefined, perDay: undefined },
  { name: "enterprise", perMinute: undefined, perDay: 50_000 },
]);
const RECORDS = 10_000;
const USES = 10;

function randomOwner(): KeyOwner {
  return {
    id: "usr_owner00000000000",
    state: random() < 0.1 ? "disabled" : "active",
    tier: oneOf("basic", "pro", "enterprise", "removed"),
    scopes: oneOf(["*"], ["orders:*"], ["*:read"], ["orders:read", "b"], []),
  };
}

function randomKey(n: number, nowMs: number): Key {
  const state = random() < 0.1 ? "disabled" : random() < 0.1 ? "revoked" : "active";
  return {
    id: keyId(n),
    kind: "api",
    environment: oneOf("live", "test"),
    name: "a key",
    description: "",
    prefix: "kit_live_abc",
    ownerId: "usr_owner00000000000",
    issuerId: "svc_0000000000000000",
    tier: oneOf("basic", "pro", "enterprise", "removed"),
    scopes: someOf("orders:read", "orders:write", "users:read", "b", "*"),
    metadata: {},
    allowedIps: oftenNone(() => someOf("192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:203.0.113.1")),
    allowedMethods: oftenNone(() => someOf("/a/*", "GET /b/**", "/shop.v1.Orders/Get", "POST /a/%41")),
    certificateNames: [],
    limits: oneOf({ perMinute: undefined, perDay: undefined }, { perMinute: 5, perDay: undefined }),
    state,
    disabledBy: state === "disabled" ? "svc_0000000000000000" : undefined,
    serviceControlled: false,
    createdAtMs: 0,
    expiresAtMs: randomEnd(nowMs),
    revokedAtMs: undefined,
    lastUsedAtMs: undefined,
    version: 1,
  };
}

/** An end in the past, soon, or never: whole seconds, and so never within the millisecond of doubt of a use. */
function randomEnd(nowMs: number): number | undefined {
  return random() < 0.6 ? undefined : Math.floor(nowMs / 1000) * 1000 + oneOf(-60, -2, 0, 1, 2, 3, 60) * 1000;
}

function randomRecord(n: number, nowMs: number): KeyRecord {
  const key = randomKey(n, nowMs);
  const owner = randomOwner();
  const figures = TIERS.effectiveLimits(key, owner);
  const isLimited = figures.perMinute !== undefined || figures.perDay !== undefined;
  const ends = [key.expiresAtMs, randomEnd(nowMs)].filter((end) => end !== undefined);
  return {
    key,
    owner,
    secretExpiresAtMs: ends.length === 0 ? undefined : Math.min(...ends),
    tier: TIERS.judged(key, owner).name,
    ownLimits: isLimited ? [ownLimit(figures)] : [],
    isAllowedIp: compileNetworks(key.allowedIps),
    shown: undefined,
  };
}

function randomUse(n: number): VerifyKeyInput {
  return {
    rawKey: rawKey(n),
    requiredScopes: oftenNone(() => someOf("orders:read", "orders:write", "users:read", "b", "*", "nothing")),
    allowedTiers: oftenNone(() => someOf("basic", "pro", "enterprise", "removed")),
    clientIp: oneOf(
      "",
      "192.0.2.1",
      "198.51.100.7",
      "::ffff:198.51.100.7",
      "2001:db8::1",
      "203.0.113.1",
      "10.0.0.1",
      "x",
    ),
    method: oneOf(
      "",
      "/a/b",
      "/a/b/c",
      "GET /b",
      "GET /b/c/d",
      "POST /b/c",
      "/shop.v1.Orders/Get",
      "POST /a/A",
      "/a//b",
    ),
    cost: oneOf(0, 1, 1, 1, 100),
    limits: oftenNone(() => [{ name: oneOf("a", "A", "b"), perMinute: oneOf(undefined, 0, 50), perDay: undefined }]),
    environment: oneOf("", "", "live", "test"),
  };
}

/** The service's verdict, without the limits; undefined: it refuses the request. */
function serviceVerdict(record: KeyRecord, use: VerifyKeyInput, nowMs: number): string | undefined {
  try {
    checkUse(use);
  } catch {
    return undefined;
  }
  const loaded = { record, source: "cache", asOfMs: 0, maxStalenessMs: 5000, position: 100n } as const;
  const deps = { records: { fresh: () => loaded } } as unknown as Parameters<typeof knownRecord>[0];
  return knownRecord(deps, use) === undefined ? "INVALID" : judgeKey(record, use, nowMs).toUpperCase();
}

/** The answer of the service to a use at which the near cache is filled. */
function answerOf(world: NearWorld, n: number, record: KeyRecord) {
  const use = { ...randomUse(n), limits: [], clientIp: "", environment: record.key.environment };
  const verdict = judgeKey(record, use, world.databaseMs);
  const key = verdictKey(record, TIERS, world.databaseMs);
  return { use, answer: { verdict: VERDICTS[verdict], key, ...secretEnd(record) } };
}

function secretEnd({ secretExpiresAtMs }: KeyRecord) {
  return secretExpiresAtMs === undefined ? {} : { secretExpiresAtMs };
}

/** The client's verdict, without the limits; undefined: it refuses the request. */
function clientVerdict(world: NearWorld, { rawKey: apiKey, ...use }: VerifyKeyInput): string | undefined {
  try {
    return world.cache.judge({ apiKey, ...use })?.verdict ?? "a call";
  } catch {
    return undefined;
  }
}

describe("service and client", () => {
  it(`give the same verdict for ${RECORDS * USES} random records and uses`, () => {
    const world = new NearWorld({ maxKeys: RECORDS });
    const attempt = world.stream();
    const seen = new Map<string, number>();
    for (let n = 0; n < RECORDS; n++) {
      world.clock.advance(500 - ((world.databaseMs - 1) % 500));
      world.tell(attempt);
      const record = randomRecord(n, world.databaseMs);
      const { use, answer } = answerOf(world, n, record);
      world.cache.keep(
        world.cache.begin(),
        { apiKey: use.rawKey, environment: use.environment },
        world.response(n, answer),
      );
      for (let at = 0; at < USES; at++) {
        if (at === USES / 2) world.clock.advance(1000);
        if (at === USES / 2) world.tell(attempt);
        const next = randomUse(n);
        const verdict = clientVerdict(world, next);
        const wanted = serviceVerdict(record, next, world.databaseMs);
        if (verdict !== wanted) expect.fail(`${verdict}, not ${wanted}: ${JSON.stringify({ record, next })}`);
        seen.set(`${verdict}`, (seen.get(`${verdict}`) ?? 0) + 1);
      }
    }
    expect([...seen.keys()].sort()).toEqual(
      [
        ...["DISABLED", "EXPIRED", "INVALID", "IP_NOT_ALLOWED", "METHOD_NOT_ALLOWED", "OWNER_DISABLED", "REVOKED"],
        ...["SCOPE_MISSING", "TIER_NOT_ALLOWED", "VALID", "undefined"],
      ].sort(),
    );
    for (const [verdict, count] of seen) expect(count, verdict).toBeGreaterThan(RECORDS / 20);
  });
});
