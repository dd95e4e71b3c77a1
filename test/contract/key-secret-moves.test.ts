import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeySecretDigest, SecretRehash } from "../../src/keys/key.ts";
import type { AddSecret, AddSecretOutcome, KeyStore } from "../../src/keys/key-store.ts";
import { PostgresKeyStore } from "../../src/postgres/stores/key-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { ENTRY, inserted, newKey, newOwner } from "../support/stored-keys.ts";
import { until } from "../support/until.ts";

describe.each(DATABASE_KINDS)("KeyStore on %s moves secrets to another version of the pepper:", (kind) => {
  let test: TestDatabase;
  let store: KeyStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresKeyStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const rotation = (keyId: string, overlapMs: number): AddSecret => ({
    keyId,
    expectedVersion: 1,
    secret: { digest: randomBytes(32), pepperVersion: 2, expiresAtMs: undefined },
    overlapMs,
    maxLiveSecrets: 8,
    maxEndedSecrets: 8,
    request: undefined,
  });
  const rehashOf = (from: KeySecretDigest): SecretRehash => ({
    from,
    to: { digest: randomBytes(32), pepperVersion: from.pepperVersion + 1 },
  });
  const secretsOf = async (keyId: string) => (await store.read([keyId])).keys[0]!.secrets;

  it("changes digest and version, and nothing else of the secret, the key or any copy", async () => {
    const wanted = newKey(await newOwner(test));
    const key = await inserted(store, wanted);
    const rotated = await store.addSecret(rotation(key.id, 3_600_000), ENTRY);
    if (rotated.kind !== "changed") throw new Error(rotated.kind);
    const [before, beside] = (await secretsOf(key.id)).toSorted((a, b) => a.pepperVersion - b.pepperVersion);
    const rehash = rehashOf(before!);
    const changes = async () => (await test.database.read("select 1 from changes", [])).length;
    const changesBefore = await changes();
    test.changes.length = 0;
    expect(await store.rehashSecrets([rehash])).toBe(1);
    const moved = { ...rehash.to, expiresAtMs: before!.expiresAtMs };
    expect(moved.expiresAtMs).toBeGreaterThan(test.clock.nowMs());
    const after = await secretsOf(key.id);
    expect(after).toHaveLength(2);
    expect(after).toEqual(expect.arrayContaining([moved, beside]));
    expect((await store.find("api", key.id))?.key).toEqual(rotated.key);
    expect(test.changes).toEqual([]);
    expect(await changes()).toEqual(changesBefore);
  });

  it("changes nothing if digest or version have changed meanwhile", async () => {
    const wanted = newKey(await newOwner(test));
    const key = await inserted(store, wanted);
    const { secret } = wanted;
    const stale = [
      rehashOf({ ...secret, digest: randomBytes(32) }),
      rehashOf({ ...secret, pepperVersion: secret.pepperVersion + 1 }),
    ];
    expect(await store.rehashSecrets(stale)).toBe(0);
    expect(await secretsOf(key.id)).toEqual([secret]);
    expect(await store.rehashSecrets([])).toBe(0);
  });

  it("changes each secret once, in any order of several concurrent processes", async () => {
    const owner = await newOwner(test);
    const secrets: KeySecretDigest[] = [];
    for (let n = 0; n < 20; n++) {
      const wanted = newKey(owner);
      await inserted(store, wanted);
      secrets.push(wanted.secret);
    }
    const forward = secrets.map(rehashOf);
    const backward = forward.toReversed();
    const moved = await Promise.all([forward, backward, forward].map((each) => store.rehashSecrets(each)));
    expect(moved.reduce((sum, each) => sum + each)).toBe(20);
    const known = forward.map(({ to }) => to.digest.toString("hex")).sort();
    const rows = await test.database.read(
      "select encode(digest, 'hex') as digest from key_secrets where pepper_version = 2 and encode(digest, 'hex') = any(?::text[]) order by 1",
      [`{${known.join(",")}}`],
    );
    expect(rows.map((row) => row.digest)).toEqual(known);
  });

  it("lets a concurrent rotation still end the old secret, every time", async () => {
    const owner = await newOwner(test);
    for (let round = 0; round < 10; round++) {
      const wanted = newKey(owner);
      const key = await inserted(store, wanted);
      const rotate = () => store.addSecret(rotation(key.id, 0), ENTRY);
      const move = () => store.rehashSecrets([rehashOf(wanted.secret)]);
      await Promise.all(round % 2 === 0 ? [rotate(), move()] : [move(), rotate()]);
      const ends = (await secretsOf(key.id)).map(({ expiresAtMs }) => expiresAtMs !== undefined);
      expect(ends.sort()).toEqual([false, true]);
    }
  });

  it.runIf(kind === "postgres")("lets a rotation that waits for the move end the moved secret", async () => {
    const wanted = newKey(await newOwner(test));
    const key = await inserted(store, wanted);
    let rotating: Promise<AddSecretOutcome> | undefined;
    await test.database.transact(async ({ em }) => {
      await em.execute("update key_secrets set digest = decode(?, 'hex'), pepper_version = 2 where key_id = ?", [
        randomBytes(32).toString("hex"),
        key.id,
      ]);
      rotating = store.addSecret(rotation(key.id, 0), ENTRY);
      // The race happens: the rotation has begun, and waits for this transaction.
      await until(async () => {
        const [row] = await test.database.read("select count(*)::int as n from pg_locks where not granted", []);
        return (row?.n as number) > 0;
      }, "the rotation waits");
    });
    expect((await rotating)?.kind).toBe("changed");
    const ends = (await secretsOf(key.id)).map(({ expiresAtMs }) => expiresAtMs !== undefined);
    expect(ends.sort()).toEqual([false, true]);
  });
});
