import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DomainError } from "../../src/lib/errors.ts";
import { newId } from "../../src/lib/id.ts";
import { insertUser } from "../../src/postgres/rows/user-rows.ts";
import { UserRow } from "../../src/postgres/tables.ts";
import type { Transaction } from "../../src/postgres/transactions/transaction.ts";
import { openDatabase, TESTER, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";

const LATE = new DomainError("DEADLINE_EXCEEDED", "deadline exceeded");

describe.each(DATABASE_KINDS)("a transaction of a call on %s", (kind) => {
  let test: TestDatabase;
  let call: AbortController;
  beforeAll(async () => {
    test = await openDatabase(kind);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());
  beforeEach(() => {
    call = new AbortController();
  });

  const transact = <T>(work: (tx: Transaction) => Promise<T>) =>
    test.database.for({ ...TESTER, signal: call.signal }).transact(work);

  /** Adds a user; the next flush inserts it. */
  function add(tx: Transaction): string {
    const id = newId("usr");
    const email = `${id}@example.com`;
    insertUser(tx, { id, email, emailNormalized: email, displayName: "", tier: "basic", scopes: [] }, null);
    return id;
  }

  const isThere = async (id: string) =>
    (await test.database.read("select 1 as one from users where id = ?", [id])).length > 0;

  it("commits and reports its changes while the call goes on", async () => {
    const id = await transact(async (tx) => {
      const added = add(tx);
      await tx.em.flush();
      await tx.changed("OWNER", added);
      return added;
    });
    expect(await isThere(id)).toBe(true);
    expect(test.changes).toContainEqual({ kind: "OWNER", subjectId: id });
  });

  it.each<[what: string, statement: (tx: Transaction) => Promise<unknown>]>([
    ["statement of SQL", ({ em }) => em.execute("select 1")],
    ["find", ({ em }) => em.findOne(UserRow, { id: "usr_none" })],
    ["count", ({ em }) => em.count(UserRow, {})],
    ["delete", ({ em }) => em.nativeDelete(UserRow, { id: "usr_none" })],
    ["flush", ({ em }) => em.flush()],
    ["change", (tx) => tx.changed("OWNER", "usr_none")],
    ["record", (tx) => tx.record({ kind: "key.revoked", actorId: "", subjectId: "", clientIp: "" })],
  ])("starts no %s after the call ended, fails with its reason, and rolls back", async (_what, statement) => {
    let first = "";
    let wentThrough = false;
    const failed = transact(async (tx) => {
      first = add(tx);
      await tx.em.flush();
      expect(await tx.em.count(UserRow, { id: first })).toBe(1);
      add(tx);
      call.abort(LATE);
      await statement(tx);
      wentThrough = true;
    });
    await expect(failed).rejects.toBe(LATE);
    expect(wentThrough).toBe(false);
    expect(await isThere(first)).toBe(false);
  });

  it("neither commits nor reports a change if the call ends after the last statement", async () => {
    let id = "";
    const failed = transact(async (tx) => {
      id = add(tx);
      await tx.em.flush();
      await tx.changed("OWNER", id);
      call.abort(LATE);
    });
    await expect(failed).rejects.toBe(LATE);
    expect(await isThere(id)).toBe(false);
    expect(test.changes).not.toContainEqual({ kind: "OWNER", subjectId: id });
  });

  it("does not begin for a call that has ended before", async () => {
    call.abort(LATE);
    let began = false;
    const failed = transact(async () => {
      began = true;
    });
    await expect(failed).rejects.toBe(LATE);
    await expect(test.database.for({ ...TESTER, signal: call.signal }).read("select 1", [])).rejects.toBe(LATE);
    expect(began).toBe(false);
  });

  it("leaves its connection usable for other calls, whatever the number of ended calls", async () => {
    const over = () => {
      const given = new AbortController();
      return test.database.for({ ...TESTER, signal: given.signal }).transact(async ({ em }) => {
        given.abort(LATE);
        await em.execute("select 1");
      });
    };
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, over));
    expect(outcomes).toEqual(Array(20).fill({ status: "rejected", reason: LATE }));
    expect(await test.database.transact(({ em }) => em.count(UserRow, { id: "usr_none" }))).toBe(0);
  });
});
