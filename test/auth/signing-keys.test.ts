import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newSigningKey, type SealedSigningKey } from "../../src/auth/signing-key.ts";
import type { SigningKeyStore } from "../../src/auth/signing-key-store.ts";
import { SigningKeys } from "../../src/auth/signing-keys.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresSigningKeyStore } from "../../src/postgres/signing-key-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { SECONDS } from "../support/people.ts";
import { recordingLog } from "../support/recording-log.ts";

const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);

/** The real store, which counts its reads and can be cut off. */
function observed(store: SigningKeyStore) {
  const observer = { reads: 0, isAway: false };
  const list = () => {
    observer.reads++;
    return observer.isAway ? Promise.reject(new DomainError("DATABASE_UNAVAILABLE", "away")) : store.list();
  };
  return { observer, store: { list, addUnlessOneSigns: (key: SealedSigningKey) => store.addUnlessOneSigns(key) } };
}

describe("signing keys", () => {
  let test: TestDatabase;
  let kept: SigningKeyStore;
  beforeEach(async () => {
    test ??= await openDatabase("embedded");
    kept = new PostgresSigningKeyStore(test.database);
    await test.database.run("delete from signing_keys", []);
  });
  afterEach(async () => {
    test.changes.length = 0;
  });

  function newProcess(withRing = ring) {
    const { clock } = test;
    const log = recordingLog();
    const { observer, store } = observed(kept);
    const databaseClock = new DatabaseClock(clock);
    const options = { store, ring: withRing, clock, databaseClock, log, accessTokenMs: 1800 * SECONDS };
    return { observer, log, keys: new SigningKeys({ ...options, algorithm: "EdDSA" }) };
  }

  it("processes that start together sign with one key, and publish it", async () => {
    const processes = Array.from({ length: 5 }, () => newProcess());
    const signers = await Promise.all(processes.map(({ keys }) => keys.signer()));
    expect(new Set(signers.map((key) => key.kid)).size).toBe(1);
    const published = await Promise.all(processes.map(({ keys }) => keys.jwks()));
    for (const jwks of published) expect(jwks.keys.map((key) => key.kid)).toEqual([signers[0]?.kid]);
    expect(Object.keys(published[0]!.keys[0]!).toSorted()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
  });

  it("are read once for any number of calls, and again after 30 s", async () => {
    const { keys, observer } = newProcess();
    const { kid } = await keys.signer();
    observer.reads = 0;
    await Promise.all(Array.from({ length: 50 }, () => Promise.all([keys.signer(), keys.verifier(kid), keys.jwks()])));
    expect(observer.reads).toBe(0);
    test.clock.advance(30 * SECONDS);
    await Promise.all(Array.from({ length: 50 }, () => keys.verifier(kid)));
    expect(observer.reads).toBe(1);
  });

  it("an unknown kid causes at most one read a second", async () => {
    const { keys, observer } = newProcess();
    await keys.signer();
    test.clock.advance(SECONDS);
    observer.reads = 0;
    for (let i = 0; i < 100; i++) expect(await keys.verifier(`made-up-${i}`)).toBeUndefined();
    expect(observer.reads).toBe(1);
    test.clock.advance(SECONDS);
    await Promise.all(Array.from({ length: 100 }, (_, i) => keys.verifier(`made-up-${i}`)));
    expect(observer.reads).toBe(2);
  });

  it("a key made elsewhere is known within a second of the last read", async () => {
    const { keys } = newProcess();
    const first = await keys.signer();
    await test.database.run(`update signing_keys set retires_at = ${test.database.now}`, []);
    const second = await newProcess().keys.signer();
    expect(second.kid).not.toBe(first.kid);
    test.clock.advance(SECONDS);
    expect((await keys.verifier(second.kid))?.kid).toBe(second.kid);
  });

  it("an unknown kid while the database is away is no verdict", async () => {
    const { keys, observer } = newProcess();
    const { kid } = await keys.signer();
    test.clock.advance(SECONDS);
    observer.isAway = true;
    for (let i = 0; i < 3; i++) {
      await expect(keys.verifier("made-up")).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    }
    expect((await keys.verifier(kid))?.kid).toBe(kid);
    test.clock.advance(30 * SECONDS);
    await expect(keys.verifier(kid)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect((await keys.jwks()).keys.map((key) => key.kid)).toEqual([kid]);
  });

  it("a revoked key is gone at once where the change is known, and within 30 s elsewhere", async () => {
    const [told, untold] = [newProcess(), newProcess()];
    const { kid } = await told.keys.signer();
    await untold.keys.signer();
    await test.database.run("update signing_keys set revoked_at = now()", []);
    told.keys.apply({ kind: "SIGNING_KEY", subjectId: kid });
    expect(await told.keys.verifier(kid)).toBeUndefined();
    expect(await untold.keys.verifier(kid)).toBeDefined();
    test.clock.advance(30 * SECONDS);
    expect(await untold.keys.verifier(kid)).toBeUndefined();
    expect((await untold.keys.signer()).kid).not.toBe(kid);
  });

  it("a retired key verifies until its last token is gone, and signs no more", async () => {
    const { keys } = newProcess();
    const { kid } = await keys.signer();
    await test.database.run(`update signing_keys set retires_at = ${test.database.now}`, []);
    test.clock.advance(30 * SECONDS);
    expect((await keys.signer()).kid).not.toBe(kid);
    test.clock.advance(1770 * SECONDS);
    expect((await keys.verifier(kid))?.kid).toBe(kid);
    test.clock.advance(61 * SECONDS);
    expect(await keys.verifier(kid)).toBeUndefined();
    expect((await keys.jwks()).keys.map((key) => key.kid)).not.toContain(kid);
  });

  it("a key that is not active yet is published and does not sign", async () => {
    const { keys } = newProcess();
    const { kid } = await keys.signer();
    const next = await newSigningKey(ring, "ES256");
    await test.database.run(`update signing_keys set retires_at = ${test.database.now}`, []);
    await kept.addUnlessOneSigns(next);
    await test.database.run(
      `update signing_keys set retires_at = null, activates_at = case when kid = ? then ${test.database.now} + interval '1 hour' else activates_at end`,
      [next.kid],
    );
    keys.apply({ kind: "SIGNING_KEY", subjectId: next.kid });
    expect((await keys.signer()).kid).toBe(kid);
    expect((await keys.jwks()).keys.map((key) => key.kid).toSorted()).toEqual([kid, next.kid].toSorted());
    test.clock.advance(3600 * SECONDS);
    expect((await keys.signer()).kid).toBe(next.kid);
  });

  it("a row that was not sealed with the master secret is never published, and is an alarm", async () => {
    const forged = await newSigningKey(new KeyRing([{ version: 1, bytes: randomBytes(32) }]), "EdDSA");
    await kept.addUnlessOneSigns(forged);
    const { keys, log } = newProcess();
    await expect(keys.signer()).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
    await expect(keys.verifier(forged.kid)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
    expect(log.lines[0]).toMatchObject({ level: "error", fields: { kid: forged.kid, failure: "tampered" } });
  });

  it("a key sealed under a version that the ring lacks is an internal fault, not an unknown key", async () => {
    const { kid } = await newProcess().keys.signer();
    const lacking = newProcess(new KeyRing([{ version: 2, bytes: randomBytes(32) }]));
    await expect(lacking.keys.verifier(kid)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
  });
});
