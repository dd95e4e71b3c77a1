import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/audit-event.ts";
import type { AuditFilter, AuditPosition, AuditStore } from "../../src/audit/audit-store.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresAuditStore } from "../../src/postgres/audit-store.ts";
import { canOpen, DATABASE_KINDS, openDatabase, type TestDatabase } from "../support/database.ts";
import { DAYS, SECONDS } from "../support/people.ts";

const ANY: AuditFilter = { subjectId: "", actorId: "", startMs: undefined, endMs: undefined };

function newEntry(more: Partial<AuditEntry> = {}): AuditEntry {
  const details = { reason: 'it\'s \\ a "test" ? $1 ::text' };
  return {
    kind: "key.revoked",
    actorId: newId("svc"),
    subjectId: newId("key"),
    clientIp: "2001:db8::7",
    details,
    ...more,
  };
}

describe.each(DATABASE_KINDS.filter(canOpen))("AuditStore on %s", (kind) => {
  let test: TestDatabase;
  let store: AuditStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresAuditStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  async function list(filter: Partial<AuditFilter>, size = 100, after?: AuditPosition) {
    return store.list({ ...ANY, ...filter }, size, after);
  }

  it("gives back what was put on record, with an id and the database's time", async () => {
    const entry = newEntry();
    await store.record(entry);
    const { events, next } = await list({ subjectId: entry.subjectId });
    expect(events).toEqual([{ ...entry, id: expect.stringMatching(/^evt_\w{16}$/), happenedAtMs: expect.any(Number) }]);
    expect(Math.abs(events[0]!.happenedAtMs - test.clock.nowMs())).toBeLessThan(5 * SECONDS);
    expect(next).toBeUndefined();
    const { subjectId } = newEntry();
    const { details: _, ...bare } = newEntry({ subjectId });
    await store.record(bare);
    expect((await list({ subjectId })).events).toMatchObject([{ details: {} }]);
  });

  it("has no event of a transaction that came to nothing", async () => {
    const entry = newEntry();
    const failed = test.database.transact(async (tx) => {
      await tx.record(entry);
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow();
    expect((await list({ subjectId: entry.subjectId })).events).toEqual([]);
  });

  it("finds by subject, by actor, and by a span of time that begins at its start and ends before its end", async () => {
    const [actorId, subjectId] = [newId("usr"), newId("key")];
    const entries = [newEntry({ actorId }), newEntry({ subjectId }), newEntry({ actorId, subjectId })];
    for (const entry of entries) {
      await store.record(entry);
      test.clock.advance(SECONDS);
    }
    const subjectsOf = async (filter: Partial<AuditFilter>) =>
      (await list(filter)).events.map((event) => event.subjectId);
    expect(await subjectsOf({ actorId })).toEqual([subjectId, entries[0]!.subjectId]);
    expect(await subjectsOf({ subjectId })).toEqual([subjectId, subjectId]);
    expect(await subjectsOf({ actorId, subjectId })).toEqual([subjectId]);
    const [first, second] = (await list({ actorId })).events.map(({ happenedAtMs }) => happenedAtMs).reverse();
    expect(await subjectsOf({ actorId, startMs: second })).toEqual([subjectId]);
    expect(await subjectsOf({ actorId, endMs: second })).toEqual([entries[0]!.subjectId]);
    expect(await subjectsOf({ actorId, startMs: first, endMs: first })).toEqual([]);
    expect(await subjectsOf({ actorId: newId("usr") })).toEqual([]);
  });

  it("is listed newest first in pages without gap or repetition, also where many share a time", async () => {
    const subjectId = newId("key");
    await test.database.transact(async (tx) => {
      for (let n = 0; n < 12; n++) await tx.record(newEntry({ subjectId, details: { n: `${n}` } }));
    });
    const all = (await list({ subjectId })).events;
    const paged = [];
    for (let after: AuditPosition | undefined; ; ) {
      const page = await list({ subjectId }, 5, after);
      paged.push(...page.events);
      after = page.next;
      if (after === undefined) break;
    }
    expect(paged).toEqual(all);
    expect(new Set(all.map(({ id }) => id)).size).toBe(12);
    const order = all.map(({ happenedAtMs, id }) => [happenedAtMs, id] as const);
    expect(order.toSorted((a, b) => b[0] - a[0] || (a[1] < b[1] ? 1 : -1))).toEqual(order);
  });

  it("loses what is older than asked for, however much it is, and nothing else", async () => {
    const subjectId = newId("key");
    await test.database.write(
      `insert into audit_events select 'old_' || n, ${test.database.now} - interval '31 days', 'key.issued', '', ?, '', '{}'
       from generate_series(1, 12000) n`,
      [subjectId],
    );
    await store.record(newEntry({ subjectId }));
    const rows = async () =>
      (await test.database.read("select count(*)::int as count from audit_events where subject_id = ?", [subjectId]))[0]
        ?.count;
    expect(await store.prune(32 * DAYS)).toBe(false);
    expect(await rows()).toBe(12_001);
    for (const left of [7_001, 2_001, 1]) {
      expect(await store.prune(30 * DAYS)).toBe(left > 1);
      expect(await rows()).toBe(left);
    }
    test.clock.advance(31 * DAYS);
    expect(await store.prune(30 * DAYS)).toBe(false);
    expect(await rows()).toBe(0);
  });
});
