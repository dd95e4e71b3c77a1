/** A certificate name belongs to one credential that has not ended, whatever several processes do at the same time. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KeyStore } from "../../src/keys/key-store.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresKeyStore } from "../../src/postgres/stores/key-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { ENTRY, inserted, newKey } from "../support/stored-keys.ts";

describe.each(DATABASE_KINDS)("certificate names on %s", (kind) => {
  let test: TestDatabase;
  let store: KeyStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = byTurns((await test.processes()).map((database) => new PostgresKeyStore(database)));
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const credential = (certificateNames: readonly string[]) =>
    newKey("", { id: newId("svc"), kind: "service", environment: "svc", ownerId: undefined, certificateNames });
  const holders = async (...names: string[]) =>
    (await store.readByCertificateNames(names)).credentials.map(({ name, key }) => [name, key.id]);
  const changesOf = async (id: string) =>
    (await test.database.read("select 1 from changes where subject_id = ?", [id])).length;

  it("are found with their credential, and replaced as a whole", async () => {
    const key = await inserted(store, credential(["a.one", "b.one"]));
    expect(key.certificateNames).toEqual(["a.one", "b.one"]);
    expect(await holders("b.one", "no.one", "a.one")).toEqual([
      ["b.one", key.id],
      ["a.one", key.id],
    ]);
    const changed = await store.changeCredential(key.id, 1, { certificateNames: ["b.one", "c.one"] }, ENTRY);
    expect(changed).toMatchObject({ kind: "changed", key: { certificateNames: ["b.one", "c.one"], version: 2 } });
    expect(await holders("a.one", "b.one", "c.one")).toEqual([
      ["b.one", key.id],
      ["c.one", key.id],
    ]);
    expect(await store.changeCredential(key.id, 1, { certificateNames: [] }, ENTRY)).toEqual({ kind: "conflict" });
    expect(await holders("b.one")).toEqual([["b.one", key.id]]);
  });

  it("stay with their credential while it has not ended, and nothing is written for another one", async () => {
    const [one, two] = [await inserted(store, credential(["a.two"])), await inserted(store, credential(["b.two"]))];
    const taken = { kind: "name_taken", name: "a.two", keyId: one.id };
    expect(await store.changeCredential(two.id, 1, { name: "x", certificateNames: ["a.two"] }, ENTRY)).toEqual(taken);
    expect(await store.insert(credential(["a.two"]), ENTRY)).toEqual(taken);
    expect((await store.find("service", two.id))?.key).toMatchObject({ name: two.name, version: 1 });
    expect(await holders("a.two", "b.two")).toEqual([
      ["a.two", one.id],
      ["b.two", two.id],
    ]);
  });

  it("are taken from a credential that has ended, of which all copies are told", async () => {
    const [one, two] = [await inserted(store, credential(["a.three"])), await inserted(store, credential([]))];
    await store.change(one.id, 1, { state: "revoked" }, ENTRY);
    const before = await changesOf(one.id);
    await store.changeCredential(two.id, 1, { certificateNames: ["a.three"] }, ENTRY);
    expect(await holders("a.three")).toEqual([["a.three", two.id]]);
    expect(await changesOf(one.id)).toBe(before + 1);
  });

  it("go to one of several processes that insert one name at the same time", async () => {
    const attempts = Array.from({ length: 6 }, () => store.insert(credential(["a.four"]), ENTRY));
    const kinds = (await Promise.all(attempts)).map((outcome) => outcome.kind);
    expect(kinds.toSorted()).toEqual(["inserted", ...Array(5).fill("name_taken")]);
  });
});
