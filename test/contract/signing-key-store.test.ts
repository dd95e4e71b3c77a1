import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  newSigningKey,
  type SigningKey,
  sealSigningKey,
  signingKeyState,
  unsealSigningKey,
} from "../../src/auth/signing/signing-key.ts";
import type { SigningKeyStore } from "../../src/auth/signing/signing-key-store.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresSigningKeyStore } from "../../src/postgres/stores/signing-key-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, OPERATOR } from "../support/people.ts";

const ring = new KeyRing([{ version: 4, bytes: randomBytes(32) }]);

describe.each(DATABASE_KINDS)("SigningKeyStore on %s", (kind) => {
  let test: TestDatabase;
  let store: SigningKeyStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = byTurns((await test.processes()).map((database) => new PostgresSigningKeyStore(database)));
  });
  beforeEach(async () => {
    await test.database.write("delete from signing_keys", []);
    test.changes.length = 0;
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  it("returns the database's time even if there is no key", async () => {
    test.clock.advance(5 * DAYS);
    const { keys, databaseMs } = await store.list();
    expect(keys).toEqual([]);
    expect(Math.abs(databaseMs - test.clock.nowMs())).toBeLessThan(5000);
  });

  it("seals a key again for one of many processes, and changes nothing else of it", async () => {
    const newer = new KeyRing([{ version: 5, bytes: randomBytes(32) }]);
    await store.addUnlessOneSigns(await newSigningKey(ring, "EdDSA"));
    const [from] = (await store.list()).keys;
    const key = (await unsealSigningKey(ring, from!)) as SigningKey;
    test.changes.length = 0;
    const sealedAnew = Array.from({ length: 5 }, () => sealSigningKey(newer, key));
    const kept = await Promise.all(sealedAnew.map((to) => store.reseal({ from: from!, to })));
    expect(kept.filter(Boolean)).toHaveLength(1);
    const [after] = (await store.list()).keys;
    const { sealed } = sealedAnew[kept.indexOf(true)]!;
    expect(after).toEqual({ ...from, sealed, sealVersion: 5 });
    expect(await unsealSigningKey(newer, after!)).toMatchObject({ kid: from!.kid, publicJwk: key.publicJwk });
    expect(test.changes).toEqual([]);
    const unknown = { ...after!, kid: "unknown" };
    expect(await store.reseal({ from: unknown, to: sealSigningKey(newer, key) })).toBe(false);
  });

  it("keeps one first key of many processes", async () => {
    const candidates = await Promise.all(Array.from({ length: 5 }, () => newSigningKey(ring, "EdDSA")));
    for (let round = 0; round < 10; round++) {
      await test.database.write("delete from signing_keys", []);
      const kept = await Promise.all(candidates.map((key) => store.addUnlessOneSigns(key)));
      expect(kept.filter(Boolean)).toHaveLength(1);
    }
  });

  it("returns the first key byte for byte, and it is active immediately", async () => {
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
  ])("adds a key if the only one is %s", async (_what, change, listed) => {
    await store.addUnlessOneSigns(await newSigningKey(ring, "EdDSA"));
    await test.database.write(`update signing_keys set ${change.replace("NOW", test.database.now)}`, []);
    const second = await newSigningKey(ring, "ES256");
    expect(await store.addUnlessOneSigns(second)).toBe(true);
    const { keys } = await store.list();
    expect(keys).toHaveLength(listed);
    expect(keys.map((key) => key.kid)).toContain(second.kid);
  });

  const LEAD_MS = 360_000;
  const make = () => newSigningKey(ring, "ES256");
  const stateOf = async (kid: string) => {
    const key = (await store.history()).find((each) => each.kid === kid);
    return key && signingKeyState(key, test.clock.nowMs());
  };
  /** One key that signs, and one that is next. */
  async function rotating() {
    const [first, next] = await Promise.all([make(), make()]);
    await store.addUnlessOneSigns(first!);
    // Lists are ordered by creation.
    test.clock.advance(1000);
    await store.addNext({ key: next!, leadMs: LEAD_MS, by: OPERATOR });
    test.changes.length = 0;
    return { first: first!.kid, next: next!.kid };
  }

  it("lets a next key sign after its lead, at the moment at which the old key retires", async () => {
    const { first, next } = await rotating();
    const [newest, oldest] = (await store.list()).keys;
    expect(newest).toMatchObject({ kid: next, algorithm: "ES256", sealVersion: 4, retiresAtMs: undefined });
    expect(newest!.activatesAtMs - newest!.createdAtMs).toBe(LEAD_MS);
    expect(oldest).toMatchObject({ kid: first, retiresAtMs: newest!.activatesAtMs });
    expect(await store.history()).toEqual([newest, oldest]);
    expect([await stateOf(first), await stateOf(next)]).toEqual(["active", "next"]);
    test.clock.advance(LEAD_MS + 1000);
    expect([await stateOf(first), await stateOf(next)]).toEqual(["retired", "active"]);
  });

  it("has one next key at a time, whatever the number of concurrent calls", async () => {
    await store.addUnlessOneSigns(await make());
    test.changes.length = 0;
    const candidates = await Promise.all(Array.from({ length: 8 }, make));
    const added = await Promise.all(candidates.map((key) => store.addNext({ key, leadMs: LEAD_MS, by: OPERATOR })));
    expect(added.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(new Set(added.map(({ key }) => key.kid)).size).toBe(1);
    expect(await store.history()).toHaveLength(2);
    expect(test.changes).toEqual([{ kind: "SIGNING_KEY", subjectId: added[0]!.key.kid }]);
    test.clock.advance(LEAD_MS);
    expect((await store.addNext({ key: await make(), leadMs: LEAD_MS, by: OPERATOR })).isNew).toBe(true);
  });

  it("lets a next key sign immediately if no key signs", async () => {
    const { key } = await store.addNext({ key: await make(), leadMs: LEAD_MS, by: OPERATOR });
    expect(key.activatesAtMs).toBe(key.createdAtMs);
    expect(await store.addUnlessOneSigns(await make())).toBe(false);
  });

  it("lets an immediate key retire when the next one starts to sign", async () => {
    const { first, next } = await rotating();
    await test.database.write("delete from signing_keys where kid = ?", [first]);
    await store.addUnlessOneSigns(await make());
    const [waiting, signing] = (await store.list()).keys;
    expect(waiting!.kid).toBe(next);
    expect(signing!.retiresAtMs).toBe(waiting!.activatesAtMs);
  });

  it("lets the replacement sign immediately after the only signing key is revoked", async () => {
    const [only, replacement] = await Promise.all([make(), make()]);
    await store.addUnlessOneSigns(only!);
    test.changes.length = 0;
    const revoked = await store.revoke({ kid: only!.kid, replacement: replacement!, by: OPERATOR });
    expect(revoked).toMatchObject({ kid: only!.kid, revokedAtMs: expect.any(Number) });
    expect((await store.list()).keys.map((key) => key.kid)).toEqual([replacement!.kid]);
    expect([await stateOf(only!.kid), await stateOf(replacement!.kid)]).toEqual(["revoked", "active"]);
    expect(test.changes.map(({ kind, subjectId }) => [kind, subjectId]).toSorted()).toEqual(
      [only!.kid, replacement!.kid].map((kid) => ["SIGNING_KEY", kid]).toSorted(),
    );
    // A second revocation changes nothing.
    test.clock.advance(1000);
    expect(await store.revoke({ kid: only!.kid, replacement: await make(), by: OPERATOR })).toEqual(revoked);
    expect(await store.history()).toHaveLength(2);
    // Only the copies of this process are told again, because another process may have revoked it.
    expect(test.changes.slice(2)).toEqual([{ kind: "SIGNING_KEY", subjectId: only!.kid }]);
  });

  it("lets the next key sign immediately after the signing key is revoked", async () => {
    const { first, next } = await rotating();
    await store.revoke({ kid: first, replacement: await make(), by: OPERATOR });
    expect([await stateOf(first), await stateOf(next)]).toEqual(["revoked", "active"]);
    expect(await store.history()).toHaveLength(2);
  });

  it("lets the signing key go on after the next key is revoked", async () => {
    const { first, next } = await rotating();
    await store.revoke({ kid: next, replacement: await make(), by: OPERATOR });
    test.clock.advance(LEAD_MS + 1000);
    expect([await stateOf(first), await stateOf(next)]).toEqual(["active", "revoked"]);
    expect((await store.list()).keys.map((key) => key.kid)).toEqual([first]);
  });

  it("changes nothing else when a retired key is revoked", async () => {
    const { first, next } = await rotating();
    test.clock.advance(LEAD_MS + 1000);
    await store.revoke({ kid: first, replacement: await make(), by: OPERATOR });
    expect((await store.list()).keys.map((key) => key.kid)).toEqual([next]);
    expect(await store.history()).toHaveLength(2);
  });

  it("still has a signing key after all keys are revoked concurrently, in any order", async () => {
    for (let round = 0; round < 10; round++) {
      await test.database.write("delete from signing_keys", []);
      const { first, next } = await rotating();
      const replacements = await Promise.all([make(), make()]);
      await Promise.all(
        [first, next].map((kid, at) => store.revoke({ kid, replacement: replacements[at]!, by: OPERATOR })),
      );
      const { keys, databaseMs } = await store.list();
      expect(keys).toHaveLength(1);
      expect(signingKeyState(keys[0]!, databaseMs)).toBe("active");
    }
  });

  it("revokes no unknown key", async () => {
    expect(await store.revoke({ kid: "none", replacement: await make(), by: OPERATOR })).toBeUndefined();
    expect(await store.history()).toEqual([]);
  });

  it("erases keys 30 days after their end, with the next rotation", async () => {
    const { first, next } = await rotating();
    // The first key retires now, and is kept for another 30 days.
    test.clock.advance(LEAD_MS);
    test.clock.advance(30 * DAYS - 10_000);
    const third = await make();
    await store.addNext({ key: third, leadMs: LEAD_MS, by: OPERATOR });
    expect((await store.history()).map((key) => key.kid)).toEqual([third.kid, next, first]);
    test.clock.advance(LEAD_MS + 1000);
    const fourth = await make();
    await store.addNext({ key: fourth, leadMs: LEAD_MS, by: OPERATOR });
    expect((await store.history()).map((key) => key.kid)).toEqual([fourth.kid, third.kid, next]);
  });

  it("records who created and who revoked a key", async () => {
    const { first, next } = await rotating();
    await store.revoke({ kid: first, replacement: await make(), by: OPERATOR });
    const of = (kid: string) =>
      test.database.read("select kind, actor_id, client_ip from audit_events where subject_id = ? order by kind", [
        kid,
      ]);
    const byOperator = { actor_id: OPERATOR.id, client_ip: OPERATOR.clientIp };
    expect(await of(first)).toMatchObject([
      { kind: "signing_key.created", actor_id: "", client_ip: "" },
      { kind: "signing_key.revoked", ...byOperator },
    ]);
    expect(await of(next)).toMatchObject([{ kind: "signing_key.created", ...byOperator }]);
  });
});
