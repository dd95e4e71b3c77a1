import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rotateSigningKey } from "../../src/auth/signing/rotate-signing-key.ts";
import { newSigningKey, type SealedSigningKey } from "../../src/auth/signing/signing-key.ts";
import type { SigningKeyStore } from "../../src/auth/signing/signing-key-store.ts";
import { SigningKeys, type SigningKeysOptions } from "../../src/auth/signing/signing-keys.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresSigningKeyStore } from "../../src/postgres/stores/signing-key-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DAYS, SECONDS } from "../support/people.ts";
import { recordingLog } from "../support/recording-log.ts";
import { eventually } from "../support/until.ts";

const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);

/** The real store, which counts its reads and can be made unreachable. */
function observed(store: SigningKeyStore) {
  const observer = { reads: 0, additions: 0, isAway: false, isSealingAway: false };
  const list = () => {
    observer.reads++;
    return observer.isAway ? Promise.reject(new DomainError("DATABASE_UNAVAILABLE", "away")) : store.list();
  };
  const addNext: SigningKeyStore["addNext"] = (input) => {
    observer.additions++;
    return observer.isAway ? Promise.reject(new DomainError("DATABASE_UNAVAILABLE", "away")) : store.addNext(input);
  };
  const addUnlessOneSigns = (key: SealedSigningKey) => store.addUnlessOneSigns(key);
  const reseal: SigningKeyStore["reseal"] = (input) =>
    observer.isSealingAway ? Promise.reject(new DomainError("DATABASE_UNAVAILABLE", "away")) : store.reseal(input);
  return { observer, store: { list, addUnlessOneSigns, addNext, reseal } };
}

describe("signing keys", () => {
  let test: TestDatabase;
  let kept: SigningKeyStore;
  beforeEach(async () => {
    test ??= await openDatabase("embedded");
    kept = new PostgresSigningKeyStore(test.database);
    await test.database.write("delete from signing_keys", []);
  });
  afterEach(async () => {
    test.changes.length = 0;
  });

  function newProcess(withRing = ring, more: Partial<SigningKeysOptions> = {}) {
    const { clock } = test;
    const log = recordingLog();
    const { observer, store } = observed(kept);
    const databaseClock = new DatabaseClock(clock);
    // Only its own reads prove a copy fresh.
    const feed = { freshAtMs: Number.NEGATIVE_INFINITY };
    const times = { accessTokenMs: 1800 * SECONDS, signingKeyMs: 90 * DAYS };
    const options = { store, feed, ring: withRing, clock, databaseClock, log, algorithm: "EdDSA" as const, ...times };
    return { observer, log, feed, options, keys: new SigningKeys({ ...options, ...more }) };
  }

  it("are one key if processes start at the same time, which all of them publish", async () => {
    const processes = Array.from({ length: 5 }, () => newProcess());
    const signers = await Promise.all(processes.map(({ keys }) => keys.signer()));
    expect(new Set(signers.map((key) => key.kid)).size).toBe(1);
    const published = await Promise.all(processes.map(({ keys }) => keys.jwks()));
    for (const jwks of published) expect(jwks.keys.map((key) => key.kid)).toEqual([signers[0]?.kid]);
    expect(Object.keys(published[0]!.keys[0]!).toSorted()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
  });

  it("are read once for any number of calls while the feed is fresh, and again after 5 s without it", async () => {
    const { keys, observer, feed } = newProcess();
    const { kid } = await keys.signer();
    observer.reads = 0;
    await Promise.all(Array.from({ length: 50 }, () => Promise.all([keys.signer(), keys.verifier(kid), keys.jwks()])));
    test.clock.advance(60 * SECONDS);
    feed.freshAtMs = test.clock.elapsedMs();
    await Promise.all([keys.signer(), keys.verifier(kid), keys.jwks()]);
    expect(observer.reads).toBe(0);
    test.clock.advance(5 * SECONDS);
    await Promise.all(Array.from({ length: 50 }, () => keys.verifier(kid)));
    expect(observer.reads).toBe(1);
  });

  it("are read again if this machine was suspended during the read", async () => {
    const { observer, options, keys } = newProcess();
    await keys.signer();
    test.clock.advance(6 * SECONDS);
    const { promise, resolve } = Promise.withResolvers<void>();
    const list = () => options.store.list();
    const reads: (() => Promise<unknown>)[] = [() => promise.then(list), list];
    const slow = newProcess(ring, { store: { ...options.store, list: () => (reads.shift() ?? list)() as never } });
    const signing = slow.keys.signer();
    test.clock.suspend(60 * SECONDS);
    const before = observer.reads;
    resolve();
    await signing;
    expect(observer.reads - before).toBe(2);
  });

  it("are read again after a change that was announced during the read", async () => {
    await newProcess().keys.signer();
    const { observer, options } = newProcess();
    const { promise, resolve } = Promise.withResolvers<void>();
    const list = async () => {
      const found = await options.store.list();
      await promise;
      return found;
    };
    const { keys } = newProcess(ring, { store: { ...options.store, list } });
    const first = keys.signer();
    await expect.poll(() => observer.reads).toBe(1);
    keys.apply({ kind: "SIGNING_KEY", subjectId: "kid" });
    resolve();
    await first;
    await keys.signer();
    expect(observer.reads).toBe(2);
  });

  it("are read at most once a second because of unknown key ids", async () => {
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

  it("include a key of another process within a second of the last read", async () => {
    const { keys } = newProcess();
    const first = await keys.signer();
    await test.database.write(`update signing_keys set retires_at = ${test.database.now}`, []);
    const second = await newProcess().keys.signer();
    expect(second.kid).not.toBe(first.kid);
    test.clock.advance(SECONDS);
    expect((await keys.verifier(second.kid))?.kid).toBe(second.kid);
  });

  it("cause DATABASE_UNAVAILABLE for an unknown key id while the database is unreachable", async () => {
    const { keys, observer } = newProcess();
    const { kid } = await keys.signer();
    test.clock.advance(SECONDS);
    observer.isAway = true;
    for (let i = 0; i < 3; i++) {
      await expect(keys.verifier("made-up")).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    }
    expect((await keys.verifier(kid))?.kid).toBe(kid);
    test.clock.advance(5 * SECONDS);
    await expect(keys.verifier(kid)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(await keys.jwks()).toMatchObject({ isStale: true, keys: [{ kid }] });
    observer.isAway = false;
    expect(await keys.jwks()).toMatchObject({ isStale: false, keys: [{ kid }] });
  });

  it("do not include a revoked key, at once if the change is known, and otherwise within 5 s", async () => {
    const [told, untold] = [newProcess(), newProcess()];
    const { kid } = await told.keys.signer();
    await untold.keys.signer();
    await test.database.write("update signing_keys set revoked_at = now()", []);
    // A fresh feed does not prove a copy fresh that it has marked as outdated.
    told.feed.freshAtMs = test.clock.elapsedMs();
    told.keys.apply({ kind: "SIGNING_KEY", subjectId: kid });
    expect(await told.keys.verifier(kid)).toBeUndefined();
    expect(await untold.keys.verifier(kid)).toBeDefined();
    test.clock.advance(5 * SECONDS);
    expect(await untold.keys.verifier(kid)).toBeUndefined();
    expect((await untold.keys.signer()).kid).not.toBe(kid);
  });

  it("no longer sign when they are retired, but verify until their last token has expired", async () => {
    const { keys } = newProcess();
    const { kid } = await keys.signer();
    await test.database.write(`update signing_keys set retires_at = ${test.database.now}`, []);
    test.clock.advance(30 * SECONDS);
    expect((await keys.signer()).kid).not.toBe(kid);
    test.clock.advance(1770 * SECONDS);
    expect((await keys.verifier(kid))?.kid).toBe(kid);
    test.clock.advance(61 * SECONDS);
    expect(await keys.verifier(kid)).toBeUndefined();
    expect((await keys.jwks()).keys.map((key) => key.kid)).not.toContain(kid);
  });

  it("are published before they are active, and do not sign then", async () => {
    const { keys } = newProcess();
    const { kid } = await keys.signer();
    const next = await newSigningKey(ring, "ES256");
    await test.database.write(`update signing_keys set retires_at = ${test.database.now}`, []);
    await kept.addUnlessOneSigns(next);
    await test.database.write(
      `update signing_keys set retires_at = null, activates_at = case when kid = ? then ${test.database.now} + interval '1 hour' else activates_at end`,
      [next.kid],
    );
    keys.apply({ kind: "SIGNING_KEY", subjectId: next.kid });
    expect((await keys.signer()).kid).toBe(kid);
    expect((await keys.jwks()).keys.map((key) => key.kid).toSorted()).toEqual([kid, next.kid].toSorted());
    test.clock.advance(3600 * SECONDS);
    expect((await keys.signer()).kid).toBe(next.kid);
  });

  it("are replaced by age, once for any number of processes, after the time that verifiers need", async () => {
    const processes = Array.from({ length: 5 }, () => newProcess(ring, { algorithm: "ES256" }));
    const { kid } = await newProcess().keys.signer();
    const signers = () => Promise.all(processes.map(({ keys }) => keys.signer()));
    test.clock.advance(90 * DAYS - 10 * SECONDS);
    await signers();
    expect(processes.map(({ observer }) => observer.additions)).toEqual([0, 0, 0, 0, 0]);
    test.clock.advance(10 * SECONDS);
    expect((await signers()).map((key) => key.kid)).toEqual(Array.from({ length: 5 }, () => kid));
    await eventually(async () =>
      expect((await kept.history()).map((key) => key.algorithm)).toEqual(["ES256", "EdDSA"]),
    );
    const [next, old] = await kept.history();
    expect(next!.activatesAtMs - next!.createdAtMs).toBe(360 * SECONDS);
    expect(old).toMatchObject({ kid, retiresAtMs: next!.activatesAtMs });
    test.clock.advance(354 * SECONDS);
    expect(new Set((await signers()).map((key) => key.kid))).toEqual(new Set([kid]));
    test.clock.advance(6 * SECONDS);
    expect(new Set((await signers()).map((key) => key.kid))).toEqual(new Set([next!.kid]));
    expect(await kept.history()).toHaveLength(2);
  });

  it("sign on if they are old but can't be replaced, which is tried once a minute", async () => {
    const { keys, observer, feed, log } = newProcess();
    const { kid } = await keys.signer();
    test.clock.advance(90 * DAYS);
    feed.freshAtMs = test.clock.elapsedMs();
    observer.isAway = true;
    for (let i = 0; i < 20; i++) expect((await keys.signer()).kid).toBe(kid);
    const failures = () => log.lines.filter(({ level }) => level === "warn");
    await eventually(() => expect(failures()).toHaveLength(1));
    for (let i = 0; i < 20; i++) await keys.signer();
    expect(observer.additions).toBe(1);
    test.clock.advance(60 * SECONDS);
    feed.freshAtMs = test.clock.elapsedMs();
    expect((await keys.signer()).kid).toBe(kid);
    await eventually(() => expect(failures()).toHaveLength(2));
    expect(observer.additions).toBe(2);
  });

  it("are rotated once if several processes and operators rotate at the same time", async () => {
    const processes = Array.from({ length: 8 }, () => newProcess());
    await processes[0]!.keys.signer();
    const by = { id: "svc_0123456789abcdef", clientIp: "192.0.2.1" };
    const made = await Promise.all(
      processes.map(({ options }) => rotateSigningKey({ ...options, store: kept }, { by })),
    );
    expect(new Set(made.map((key) => key.kid)).size).toBe(1);
    expect(await kept.history()).toHaveLength(2);
  });

  it("never include a row that was sealed with another master key, which is logged as an error", async () => {
    const forged = await newSigningKey(new KeyRing([{ version: 1, bytes: randomBytes(32) }]), "EdDSA");
    await kept.addUnlessOneSigns(forged);
    const { keys, log } = newProcess();
    await expect(keys.signer()).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
    await expect(keys.verifier(forged.kid)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
    expect(log.lines[0]).toMatchObject({ level: "error", fields: { kid: forged.kid, failure: "tampered" } });
  });

  it("are resealed under the ring's first version when they are read, and stay the same keys", async () => {
    const [old, newer] = [
      { version: 1, bytes: randomBytes(32) },
      { version: 2, bytes: randomBytes(32) },
    ] as const;
    const versions = async () => (await kept.list()).keys.map(({ sealVersion }) => sealVersion);
    const { publicJwk } = await newProcess(new KeyRing([old])).keys.signer();
    // The new version is appended first, then put first by several processes. No login or call is needed.
    await newProcess(new KeyRing([old, newer])).keys.reseal();
    expect(await versions()).toEqual([1]);
    const processes = Array.from({ length: 3 }, () => newProcess(new KeyRing([newer, old])));
    await Promise.all(processes.map(({ keys }) => keys.reseal()));
    await eventually(async () => expect(await versions()).toEqual([2]));
    const told = () => processes.flatMap(({ log }) => log.lines);
    await eventually(() => expect(told()).toMatchObject([{ level: "info", fields: { version: 2 } }]));
    expect((await newProcess(new KeyRing([newer])).keys.signer()).publicJwk).toEqual(publicJwk);
  });

  it("are used as they are if they can't be resealed, and the next read tries again", async () => {
    const [old, newer] = [
      { version: 1, bytes: randomBytes(32) },
      { version: 2, bytes: randomBytes(32) },
    ] as const;
    const { kid } = await newProcess(new KeyRing([old])).keys.signer();
    const { keys, observer, log } = newProcess(new KeyRing([newer, old]));
    observer.isSealingAway = true;
    expect((await keys.signer()).kid).toBe(kid);
    await eventually(() => expect(log.lines).toMatchObject([{ level: "warn", fields: { kid, version: 2 } }]));
    observer.isSealingAway = false;
    keys.clear();
    await keys.verifier(kid);
    await eventually(async () => expect((await kept.list()).keys).toMatchObject([{ kid, sealVersion: 2 }]));
  });

  it("cause MASTER_KEY_MISSING, not an unknown key, if they are sealed under a version that the ring lacks", async () => {
    const { kid } = await newProcess().keys.signer();
    const lacking = newProcess(new KeyRing([{ version: 2, bytes: randomBytes(32) }]));
    await expect(lacking.keys.verifier(kid)).rejects.toMatchObject({ reason: "MASTER_KEY_MISSING" });
  });
});
