import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newSigningKey } from "../../src/auth/signing-key.ts";
import type { SigningKeyStore } from "../../src/auth/signing-key-store.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresSigningKeyStore } from "../../src/postgres/signing-key-store.ts";
import { canOpen, DATABASE_KINDS, openDatabase, type TestDatabase } from "../support/database.ts";
import { DAYS } from "../support/people.ts";

const ring = new KeyRing([{ version: 4, bytes: randomBytes(32) }]);

describe.each(DATABASE_KINDS.filter(canOpen))("SigningKeyStore on %s", (kind) => {
  let test: TestDatabase;
  let store: SigningKeyStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresSigningKeyStore(test.database);
  });
  beforeEach(async () => {
    await test.database.run("delete from signing_keys", []);
    test.changes.length = 0;
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  it("tells the database's time also where there is no key", async () => {
    test.clock.advance(5 * DAYS);
    const { keys, databaseMs } = await store.list();
    expect(keys).toEqual([]);
    expect(Math.abs(databaseMs - test.clock.nowMs())).toBeLessThan(5000);
  });

  it("keeps one first key of many processes, every time", async () => {
    const candidates = await Promise.all(Array.from({ length: 5 }, () => newSigningKey(ring, "EdDSA")));
    for (let round = 0; round < 10; round++) {
      await test.database.run("delete from signing_keys", []);
      const kept = await Promise.all(candidates.map((key) => store.addUnlessOneSigns(key)));
      expect(kept.filter(Boolean)).toHaveLength(1);
    }
  });

  it("gives back the first key byte by byte, active at once", async () => {
    const candidates = await Promise.all(Array.from({ length: 8 }, () => newSigningKey(ring, "EdDSA")));
    const kept = await Promise.all(candidates.map((key) => store.addUnlessOneSigns(key)));
    expect(kept.filter(Boolean)).toHaveLength(1);
    const winner = candidates[kept.indexOf(true)]!;
    const { keys, databaseMs } = await store.list();
    expect(keys).toEqual([
      {
        kid: winner.kid,
        algorithm: "EdDSA",
        sealed: winner.sealed,
        sealVersion: 4,
        createdAtMs: expect.any(Number),
        activatesAtMs: keys[0]?.createdAtMs,
        retiresAtMs: undefined,
        revokedAtMs: undefined,
      },
    ]);
    expect(keys[0]!.activatesAtMs).toBeLessThanOrEqual(databaseMs);
    expect(test.changes).toEqual([{ kind: "SIGNING_KEY", subjectId: winner.kid }]);
  });

  it.each([
    ["revoked", "revoked_at = NOW", 1],
    ["retired", "retires_at = NOW", 2],
    ["not yet active", "activates_at = NOW + interval '1 day'", 2],
  ])("adds one where the only key is %s", async (_what, change, listed) => {
    await store.addUnlessOneSigns(await newSigningKey(ring, "EdDSA"));
    await test.database.run(`update signing_keys set ${change.replace("NOW", test.database.now)}`, []);
    const second = await newSigningKey(ring, "ES256");
    expect(await store.addUnlessOneSigns(second)).toBe(true);
    const { keys } = await store.list();
    expect(keys).toHaveLength(listed);
    expect(keys.map((key) => key.kid)).toContain(second.kid);
  });
});
