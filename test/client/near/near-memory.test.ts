/** How much the near cache keeps, and that it keeps no secret. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../../../client/src/near/near-record.ts";
import { VerifyKeyResponseSchema } from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import { BEGIN_MS, Kind, keyId, NearWorld, rawKey } from "./near-world.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** The bytes a key that `count` keys take, each decoded as it would arrive. */
function bytesPerKey(count: number, keyOf: (n: number) => NonNullable<Parameters<NearWorld["response"]>[1]>["key"]) {
  const world = new NearWorld({ maxKeys: count });
  world.stream();
  const answers = Array.from({ length: count }, (_, n) =>
    toBinary(VerifyKeyResponseSchema, world.response(n, { key: keyOf(n)! })),
  );
  const before = heapBytes();
  for (const [n, bytes] of answers.entries()) {
    world.cache.keep(world.cache.begin(), { apiKey: rawKey(n) }, fromBinary(VerifyKeyResponseSchema, bytes));
  }
  const perKey = (heapBytes() - before) / count;
  expect(world.cache.size).toBe(count);
  return { perKey, estimated: world.cache.bytes / count };
}

describe("the memory of a kept key", () => {
  it("is at most 600 bytes for a key of ordinary size, of which 64 MiB hold 100,000", () => {
    const { perKey, estimated } = bytesPerKey(25_000, (n) => ({
      ownerId: `usr_${`${n}`.padStart(16, "o")}`,
      name: `key ${n} of a service`,
      effectiveScopes: ["orders:read", "orders:write"],
      effectiveLimits: { perMinute: 60, perDay: 5000 },
      expireTime: { seconds: BigInt(BEGIN_MS) / 1000n + BigInt(n) },
    }));
    expect(perKey).toBeLessThan(600);
    expect(estimated).toBeGreaterThan(perKey);
    expect(estimated * 100_000).toBeLessThan(64 * 2 ** 20);
  });

  it.each([
    ["ASCII", "x"],
    ["two bytes a character", "ж"],
  ])("is at most what it is estimated to be for a large key: %s", (_, character) => {
    const { perKey, estimated } = bytesPerKey(200, (n) => ({
      ownerId: `usr_${`${n}`.padStart(16, "o")}`,
      effectiveScopes: Array.from({ length: 64 }, (__, at) => `${at} ${n}`.padEnd(128, "s")),
      allowedMethods: Array.from({ length: 64 }, (__, at) => `/${at}/${n}`.padEnd(128, "m")),
      allowedIps: Array.from({ length: 64 }, (__, at) => `192.0.2.${at}`),
      metadata: Object.fromEntries(Array.from({ length: 32 }, (__, at) => [`${at}`, character.repeat(512)])),
    }));
    expect(estimated).toBeGreaterThan(perKey);
    expect(estimated).toBeLessThan(3 * perKey);
  });
});

describe("the near cache", () => {
  it("keeps as many keys as the option says, and those that are in use", () => {
    const world = new NearWorld({ maxKeys: 100 });
    world.stream();
    for (let n = 0; n < 1000; n++) {
      world.verify(n);
      for (let hot = 0; hot < 10; hot++)
        expect(n < hot ? undefined : world.verdict(hot)).toBe(n < hot ? undefined : "VALID");
    }
    expect(world.cache.size).toBe(100);
    expect(world.verdict(999)).toBe("VALID");
  });

  it("keeps as many bytes as the option says", () => {
    const world = new NearWorld({ maxBytes: 65_536 });
    world.stream();
    const fat = {
      key: { metadata: Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`${n}`, "x".repeat(512)])) },
    };
    const each = bytesOf(world.response(1, fat).key!);
    for (let n = 0; n < 100; n++) world.verify(n, fat);
    expect(world.cache.size).toBe(Math.floor(65_536 / each));
    expect(world.cache.bytes).toBe(world.cache.size * each);
    const huge = {
      key: { metadata: Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`${n}`, "x".repeat(512)])) },
    };
    world.verify(1000, huge);
    expect(world.verdict(1000)).toBeUndefined();
    world.cache.clear();
    expect([world.cache.size, world.cache.bytes]).toEqual([0, 0]);
  });

  it("has room again for each key that is dropped", () => {
    const world = new NearWorld({ maxKeys: 10 });
    const attempt = world.stream();
    for (let round = 0; round < 5; round++) {
      for (let n = 0; n < 10; n++) world.verify(n, { position: 200 });
      expect(world.cache.size).toBe(10);
      const changes = Array.from({ length: 10 }, (_, n) => ({ kind: Kind.KEY, subjectId: keyId(n) }));
      world.tell(attempt, { position: 201 + round, changes });
      expect([world.cache.size, world.cache.bytes]).toEqual([0, 0]);
      for (let n = 0; n < 10; n++) world.verify(n, { position: 201 + round });
    }
  });

  it("drops all secrets of a key, and all keys of an owner", () => {
    const world = new NearWorld();
    const attempt = world.stream();
    for (let n = 0; n < 8; n++) world.verify(n, { key: { id: keyId(100), ownerId: "usr_one0000000000000" } });
    for (let n = 8; n < 16; n++) world.verify(n, { key: { ownerId: "usr_two0000000000000" } });
    world.tell(attempt, { position: 110, changes: [{ kind: Kind.KEY, subjectId: keyId(100) }] });
    expect(world.cache.size).toBe(8);
    world.tell(attempt, { position: 111, changes: [{ kind: Kind.OWNER, subjectId: "usr_two0000000000000" }] });
    expect(world.cache.size).toBe(0);
  });
});
