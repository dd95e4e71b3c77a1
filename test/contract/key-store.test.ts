import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyStore } from "../../src/keys/key-store.ts";
import { newId } from "../../src/lib/id.ts";
import type { PagePosition } from "../../src/lib/page.ts";
import { PostgresKeyStore } from "../../src/postgres/stores/key-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { ENTRY, inserted, newKey, newOwner } from "../support/stored-keys.ts";

describe.each(DATABASE_KINDS)("KeyStore on %s", (kind) => {
  let test: TestDatabase;
  let store: KeyStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = byTurns((await test.processes()).map((database) => new PostgresKeyStore(database)));
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  it("returns a key as it was inserted, by the hot read and by the read of management", async () => {
    const wanted = newKey(await newOwner(test), { expiresAtMs: Date.now() + 3_600_000 });
    const key = await inserted(store, wanted);
    expect(key).toMatchObject({ ...wanted.key, state: "active", version: 1, lastUsedAtMs: undefined });
    const read = await store.read([key.id, newId("key")]);
    expect(read.keys).toHaveLength(1);
    expect(read.keys[0]?.key).toEqual(key);
    expect((await store.find("api", key.id))?.key).toEqual(key);
    expect(read.keys[0]?.owner).toEqual({ id: key.ownerId, state: "active", tier: "basic", scopes: ["*"] });
    expect(read.keys[0]?.secrets).toEqual([wanted.secret]);
    expect(Math.abs((read.databaseMs ?? 0) - test.clock.nowMs())).toBeLessThan(10_000);
  });

  it("keeps each text of a list unchanged, even if it looks like SQL", async () => {
    const texts = ["null", "NULL", "nUlL", "", "a,b", "{}", '"', "\\", "'", "$1", "?", " ", "a\nb"];
    const lists = { scopes: texts, allowedIps: texts, allowedMethods: texts };
    const wanted = newKey(await newOwner(test));
    const key = await inserted(store, { ...wanted, key: { ...wanted.key, ...lists } });
    expect(key).toMatchObject(lists);
    expect((await store.read([key.id])).keys[0]?.key).toMatchObject(lists);
    const reversed = texts.toReversed();
    await store.change(key.id, 1, { scopes: reversed }, ENTRY);
    expect((await store.find("api", key.id))?.key.scopes).toEqual(reversed);
  });

  it("finds nothing for unknown ids, and for an id of another kind", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    expect(await store.find("api", newId("key"))).toBeUndefined();
    expect(await store.find("service", key.id)).toBeUndefined();
    expect((await store.read([newId("key")])).keys).toEqual([]);
  });

  it("tells a reset of a key's limits as a change of the key, with its audit event, and leaves the key as it is", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    await store.limitsReset(key.id, { ...ENTRY, kind: "key.limits_reset" });
    const told = await test.database.read("select kind from changes where subject_id = ? order by id", [key.id]);
    expect(told.map((row) => row.kind)).toEqual(["KEY", "KEY"]);
    const events = await test.database.read("select kind from audit_events where subject_id = ?", [key.id]);
    expect(events.map((row) => row.kind)).toContain("key.limits_reset");
    expect((await store.find("api", key.id))?.key).toEqual(key);
  });

  it("refuses unknown and disabled owners", async () => {
    expect(await store.insert(newKey(newId("usr")), ENTRY)).toEqual({ kind: "owner_missing" });
    expect(await store.insert(newKey(await newOwner(test, "disabled")), ENTRY)).toEqual({ kind: "owner_disabled" });
  });

  it("never lets parallel calls exceed the quota, and counts keys that ended within 24 h", async () => {
    const owner = await newOwner(test);
    const attempts = Array.from({ length: 8 }, () => store.insert({ ...newKey(owner), ownerQuota: 3 }, ENTRY));
    const kinds = (await Promise.all(attempts)).map((outcome) => outcome.kind);
    expect(kinds.filter((outcome) => outcome === "inserted")).toHaveLength(3);
    expect(kinds.filter((outcome) => outcome === "quota_exceeded")).toHaveLength(5);
    const [first] = (await store.list({ kind: "api", ownerId: owner, showEnded: false }, 10, undefined)).items;
    await store.change(first!.key.id, 1, { state: "revoked", deleted: true }, ENTRY);
    expect(await store.insert({ ...newKey(owner), ownerQuota: 3 }, ENTRY)).toEqual({ kind: "quota_exceeded" });
    test.clock.advance(86_400_000 + 1000);
    expect((await store.insert({ ...newKey(owner), ownerQuota: 3 }, ENTRY)).kind).toBe("inserted");
  });

  it("keeps the quota at every possible moment of two concurrent calls", async () => {
    // A pool connects on demand, which would make the calls run one after another.
    await Promise.all(Array.from({ length: 5 }, () => test.database.read("select pg_backend_pid()", [])));
    for (let round = 0; round < 5; round++) {
      const owner = await newOwner(test);
      await Promise.all(Array.from({ length: 5 }, () => store.insert({ ...newKey(owner), ownerQuota: 1 }, ENTRY)));
      expect((await store.list({ kind: "api", ownerId: owner, showEnded: true }, 10, undefined)).totalSize).toBe(1);
    }
  });

  // The embedded database has one connection, so nothing waits for a lock there.
  it.skipIf(kind === "embedded")("counts keys and secrets without a lock, before it takes one", async () => {
    const owner = await newOwner(test);
    const request = { callerId: owner, requestId: randomUUID(), parametersDigest: randomBytes(32) };
    const key = await inserted(store, { ...newKey(owner), request });
    const rotation = {
      ...{ keyId: key.id, expectedVersion: 1, overlapMs: 1000, maxLiveSecrets: 1, maxEndedSecrets: 8 },
      ...{ secret: { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined }, request: undefined },
    };
    await test.database.transact(async (tx) => {
      await tx.em.execute("select 1 from users where id = ? for update", [owner]);
      await tx.em.execute("select 1 from api_keys where id = ? for update", [key.id]);
      expect(await store.findOwner(owner, undefined)).toMatchObject({ keys: 1, isRequestUsed: false });
      expect(await store.findOwner(owner, request)).toMatchObject({ keys: 1, isRequestUsed: true });
      expect(await store.addSecret(rotation, ENTRY)).toEqual({ kind: "too_many_secrets" });
      // Control: an allowed call waits for the lock, at most until the timeout of its statement.
      await expect(store.addSecret({ ...rotation, maxLiveSecrets: 8 }, ENTRY)).rejects.toMatchObject({
        reason: "CONTENTION",
      });
    });
  });

  it("lets one of two concurrent changes win, and reports the conflict to the other", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    const outcomes = await Promise.all([
      store.change(key.id, 1, { name: "first" }, ENTRY),
      store.change(key.id, 1, { name: "second" }, ENTRY),
    ]);
    expect(outcomes.map((outcome) => outcome.kind).sort()).toEqual(["changed", "conflict"]);
    expect((await store.find("api", key.id))?.key.version).toBe(2);
  });

  it("publishes each change, and none of a transaction that was rolled back", async () => {
    const owner = await newOwner(test);
    test.changes.length = 0;
    const key = await inserted(store, newKey(owner));
    await store.change(key.id, 1, { state: "disabled", disabledBy: owner }, ENTRY);
    await store.change(key.id, 1, { name: "too late" }, ENTRY);
    const secret = { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined };
    const rotation = { keyId: key.id, secret, overlapMs: 0, maxLiveSecrets: 8, maxEndedSecrets: 8, request: undefined };
    await store.addSecret({ ...rotation, expectedVersion: 1 }, ENTRY);
    await store.addSecret({ ...rotation, expectedVersion: 2 }, ENTRY);
    expect(test.changes).toEqual([
      { kind: "KEY", subjectId: key.id },
      { kind: "KEY", subjectId: key.id },
      { kind: "KEY", subjectId: key.id },
    ]);
    const rows = await test.database.read("select count(*)::int as n from changes where subject_id = ?", [key.id]);
    expect(rows[0]?.n).toBe(3);
  });

  it("keeps the time of the first revocation, and hides a deleted key from every read", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    const first = await store.change(key.id, 1, { state: "revoked", revokeReason: "lost" }, ENTRY);
    test.clock.advance(5000);
    const second = await store.change(key.id, 2, { state: "revoked", name: "", deleted: true }, ENTRY);
    if (first.kind !== "changed" || second.kind !== "changed") throw new Error("not changed");
    expect(second.key.revokedAtMs).toBe(first.key.revokedAtMs);
    expect(await store.find("api", key.id)).toBeUndefined();
    expect((await store.read([key.id])).keys).toEqual([]);
    expect(await store.change(key.id, 3, { name: "x" }, ENTRY)).toEqual({ kind: "conflict" });
  });

  it("ends the newest secret after the overlap, keeps earlier overlaps, and never later than the key ends", async () => {
    const end = test.clock.nowMs() + 7_200_000;
    const key = await inserted(store, newKey(await newOwner(test), { expiresAtMs: end }));
    const rotate = (version: number, overlapMs: number) =>
      store.addSecret(
        {
          keyId: key.id,
          expectedVersion: version,
          secret: { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined },
          overlapMs,
          maxLiveSecrets: 8,
          maxEndedSecrets: 8,
          request: undefined,
        },
        ENTRY,
      );
    const ends = async () =>
      (await store.read([key.id])).keys[0]!.secrets.map(
        (secret) => secret.expiresAtMs ?? Number.POSITIVE_INFINITY,
      ).sort((a, b) => a - b);
    expect((await rotate(1, 3_600_000)).kind).toBe("changed");
    const [afterHour] = await ends();
    expect((await rotate(2, 86_400_000)).kind).toBe("changed");
    expect(await ends()).toEqual([afterHour, end, Number.POSITIVE_INFINITY]);
    expect((await rotate(3, 0)).kind).toBe("changed");
    const now = test.clock.nowMs() + 5000;
    expect((await ends()).filter((at) => at > now)).toEqual([Number.POSITIVE_INFINITY]);
    expect((await rotate(3, 0)).kind).toBe("conflict");
  });

  it("refuses a ninth live secret", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    const kinds: string[] = [];
    for (let version = 1; version <= 8; version++) {
      const secret = { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined };
      const rotation = {
        keyId: key.id,
        expectedVersion: version,
        secret,
        overlapMs: 3_600_000,
        maxLiveSecrets: 8,
        maxEndedSecrets: 8,
      };
      kinds.push((await store.addSecret({ ...rotation, request: undefined }, ENTRY)).kind);
    }
    expect(kinds).toEqual([...Array(7).fill("changed"), "too_many_secrets"]);
    const ends = (await store.read([key.id])).keys[0]!.secrets.map(({ expiresAtMs }) => expiresAtMs);
    expect(
      ends.filter((end) => end === undefined),
      "a refused rotation ends no secret",
    ).toHaveLength(1);
  });

  it("keeps only the latest ended secrets, and never reads more", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    const made: Buffer[] = [];
    for (let version = 1; version <= 12; version++) {
      const secret = { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined };
      made.push(secret.digest);
      const rotation = { keyId: key.id, expectedVersion: version, secret, overlapMs: 0, request: undefined };
      await store.addSecret({ ...rotation, maxLiveSecrets: 8, maxEndedSecrets: 3 }, ENTRY);
      test.clock.advance(1000);
    }
    const read = async () => {
      const [found] = (await store.read([key.id])).keys;
      return found!.secrets.map(({ digest }) => digest.toString("hex")).sort();
    };
    const latest = made.slice(-4).map((digest) => digest.toString("hex"));
    expect(await read()).toEqual(latest.toSorted());
    // Ended secrets as earlier versions left them, which erased none.
    await test.database.write(
      `insert into key_secrets (digest, key_id, pepper_version, created_at, expires_at)
       select sha256(n::text::bytea), ?, 1, now(), timestamptz '2001-01-01' + n * interval '1 second'
       from generate_series(1, 100) n`,
      [key.id],
    );
    const bounded = await read();
    expect(bounded).toHaveLength(16);
    expect(bounded).toEqual(expect.arrayContaining(latest));
  });

  it("executes a request_id once, even for two concurrent calls, and forgets it after 24 h", async () => {
    const owner = await newOwner(test);
    const request = { callerId: owner, requestId: crypto.randomUUID(), parametersDigest: randomBytes(32) };
    const outcomes = await Promise.all([
      store.insert({ ...newKey(owner), request }, ENTRY),
      store.insert({ ...newKey(owner), request }, ENTRY),
    ]);
    const [made] = outcomes.filter((outcome) => outcome.kind === "inserted");
    const [used] = outcomes.filter((outcome) => outcome.kind === "request_used");
    expect(used).toEqual({ kind: "request_used", keyId: made?.key.id, sameParameters: true });
    const other = { ...request, parametersDigest: randomBytes(32) };
    expect(await store.insert({ ...newKey(owner), request: other }, ENTRY)).toMatchObject({ sameParameters: false });
    test.clock.advance(86_400_000 + 1000);
    expect((await store.insert({ ...newKey(owner), request }, ENTRY)).kind).toBe("inserted");
  });

  it("deletes the request_ids that it has forgotten, and no others", async () => {
    const owner = await newOwner(test);
    const request = () => ({ callerId: owner, requestId: crypto.randomUUID(), parametersDigest: randomBytes(32) });
    const rows = async () =>
      (await test.database.read("select count(*)::int as count from key_requests where caller_id = ?", [owner]))[0]
        ?.count;
    await store.insert({ ...newKey(owner), request: request() }, ENTRY);
    test.clock.advance(86_400_000 + 1000);
    await store.insert({ ...newKey(owner), request: request() }, ENTRY);
    expect(await rows()).toBe(2);
    while (await store.pruneRequests());
    expect(await rows()).toBe(1);
  });

  it("lists keys newest first in pages without gap or repetition, even if keys have the same time", async () => {
    const owner = await newOwner(test);
    const made = await Promise.all(Array.from({ length: 7 }, () => inserted(store, newKey(owner))));
    await store.change(made[0]!.id, 1, { state: "revoked" }, ENTRY);
    const filter = { kind: "api" as const, ownerId: owner, showEnded: true };
    const seen: string[] = [];
    let after: { createdAtMs: number; id: string } | undefined;
    do {
      const page = await store.list(filter, 3, after);
      expect(page.totalSize).toBe(7);
      seen.push(...page.items.map(({ key }) => key.id));
      after = page.next;
    } while (after !== undefined);
    const order = [...made].sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1));
    expect(seen).toEqual(order.map((key) => key.id));
    expect((await store.list({ ...filter, showEnded: false }, 10, undefined)).totalSize).toBe(6);
  });

  it("lists large keys in pages of about 256 KiB, each with one key at least, and leaves none out", async () => {
    const owner = await newOwner(test);
    const ids: string[] = [];
    for (const kib of [100, 100, 100, 100, 300, 1]) {
      const wanted = newKey(owner);
      const metadata = { filling: "x".repeat(kib * 1024) };
      ids.push((await inserted(store, { ...wanted, key: { ...wanted.key, metadata } })).id);
    }
    const filter = { kind: "api" as const, ownerId: owner, showEnded: true };
    const pages: string[][] = [];
    let after: PagePosition | undefined;
    do {
      const page = await store.list(filter, 250, after);
      pages.push(page.items.map(({ key }) => key.id));
      expect(page.totalSize).toBe(ids.length);
      after = page.next;
    } while (after !== undefined);
    expect(pages.flat()).toEqual(expect.arrayContaining(ids));
    expect(pages.flat()).toHaveLength(ids.length);
    // Newest first: 1 + 300 KiB; three of 100 KiB, of which the third begins below the bound; one of 100 KiB.
    expect(pages.map((page) => page.length)).toEqual([2, 3, 1]);
  });

  it("notes the latest use, and changes neither version nor state", async () => {
    const key = await inserted(store, newKey(await newOwner(test)));
    await store.recordUses([{ keyId: key.id, usedAtMs: 2_000_000_000_000 }]);
    await store.recordUses([
      { keyId: key.id, usedAtMs: 1_000_000_000_000 },
      { keyId: newId("key"), usedAtMs: 1 },
    ]);
    expect((await store.find("api", key.id))?.key).toEqual({ ...key, lastUsedAtMs: 2_000_000_000_000 });
  });

  it("lets only one of two administrators revoke the other", async () => {
    const credential = () =>
      inserted(store, { ...newKey("", { id: newId("svc"), kind: "service", scopes: ["admin"] }), ...noOwner() });
    const noOwner = () => {
      const base = newKey("", { id: newId("svc"), kind: "service", scopes: ["admin"], ownerId: undefined });
      return { key: base.key, ownerQuota: undefined };
    };
    const [a, b] = [await credential(), await credential()];
    expect(await store.hasUsableCredential("admin")).toBe(true);
    const outcomes = await Promise.all([
      store.change(a.id, 1, { state: "revoked" }, ENTRY, "admin"),
      store.change(b.id, 1, { state: "revoked" }, ENTRY, "admin"),
    ]);
    expect(outcomes.map((outcome) => outcome.kind).sort()).toEqual(["changed", "last_of_scope"]);
    expect(await store.hasUsableCredential("admin")).toBe(true);
    expect(await store.hasUsableCredential("verify")).toBe(false);
  });

  it("counts no ended credential as usable, neither for the last of a scope nor for the first", async () => {
    const issue = (expiresAtMs: number | undefined) => {
      const more = { id: newId("svc"), kind: "service" as const, scopes: ["manage"], ownerId: undefined, expiresAtMs };
      const { key, ...rest } = newKey("", more);
      return inserted(store, { ...rest, key, ownerQuota: undefined });
    };
    const soon = await issue(test.clock.nowMs() + 60_000);
    const last = await issue(undefined);
    const disabled = await issue(undefined);
    await store.change(disabled.id, 1, { state: "disabled" }, ENTRY);
    test.clock.advance(120_000);
    expect(await store.change(last.id, 1, { state: "revoked" }, ENTRY, "manage")).toEqual({ kind: "last_of_scope" });
    expect(await store.hasUsableCredential("manage")).toBe(true);
    await store.change(last.id, 1, { state: "revoked" }, ENTRY);
    expect(await store.hasUsableCredential("manage")).toBe(false);
    expect(soon.expiresAtMs).toBeLessThan(test.clock.nowMs());
  });
});
