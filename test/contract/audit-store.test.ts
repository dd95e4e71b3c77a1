import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/audit-event.ts";
import type { AuditFilter, AuditStore } from "../../src/audit/audit-store.ts";
import type { CountedEntry } from "../../src/audit/counted-event.ts";
import { newId } from "../../src/lib/id.ts";
import type { PagePosition } from "../../src/lib/page.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
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

describe.each(DATABASE_KINDS)("AuditStore on %s", (kind) => {
  let test: TestDatabase;
  let store: AuditStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresAuditStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** Writes an event as the store of a change does. */
  const record = (entry: AuditEntry) => test.database.transact((tx) => tx.record(entry));

  async function list(filter: Partial<AuditFilter>, size = 100, after?: PagePosition) {
    return store.list({ ...ANY, ...filter }, size, after);
  }

  it("returns a recorded event with an id and the database's time", async () => {
    const entry = newEntry();
    await record(entry);
    const { items: events, next } = await list({ subjectId: entry.subjectId });
    expect(events).toEqual([{ ...entry, id: expect.stringMatching(/^evt_\w{16}$/), happenedAtMs: expect.any(Number) }]);
    expect(Math.abs(events[0]!.happenedAtMs - test.clock.nowMs())).toBeLessThan(5 * SECONDS);
    expect(next).toBeUndefined();
    const { subjectId } = newEntry();
    const { details: _, ...bare } = newEntry({ subjectId });
    await record(bare);
    expect((await list({ subjectId })).items).toMatchObject([{ details: {} }]);
  });

  describe("counts refusals:", () => {
    const HOUR = 3600 * SECONDS;
    const counted = (about: string, more: Partial<CountedEntry> = {}): CountedEntry => ({
      ...{ kind: "login.failed", about, actorId: "", subjectId: newId("usr"), clientIp: "192.0.2.7" },
      details: { count: "1", "from 192.0.2.0/24": "1" },
      ...more,
    });
    /** Begins an hour of the database, so that none ends while a test counts. */
    const beginHour = () => test.clock.advance(HOUR - (test.clock.nowMs() % HOUR) + SECONDS);

    it("keeps one event an hour for a kind and subject, with the time of the first and the address of the last refusal", async () => {
      beginHour();
      const entry = counted(newId("usr"));
      const { subjectId } = entry;
      await store.count({ ...entry, details: { count: "80", account: "ab", "from 192.0.2.0/24": "80" } });
      const [first] = (await list({ subjectId })).items;
      test.clock.advance(60 * SECONDS);
      const details = { count: "5", "from 198.51.100.0/24": "5" };
      await store.count({ ...entry, clientIp: "198.51.100.1", details });
      await store.count({ ...entry, kind: "login.throttled" });
      const { items: events } = await list({ subjectId });
      expect(events.map(({ kind }) => kind).sort()).toEqual(["login.failed", "login.throttled"]);
      const failed = events.find(({ kind }) => kind === "login.failed")!;
      expect(failed).toMatchObject({
        id: first!.id,
        happenedAtMs: first!.happenedAtMs,
        clientIp: "198.51.100.1",
        details: { count: "85", account: "ab", "from 192.0.2.0/24": "80", "from 198.51.100.0/24": "5" },
      });
      expect(Date.parse(failed.details.last_time!) - first!.happenedAtMs).toBeGreaterThanOrEqual(60 * SECONDS - 1);
      test.clock.advance(HOUR);
      await store.count(entry);
      expect((await list({ subjectId })).items.map(({ details: { count } }) => count)).toHaveLength(3);
    });

    it("loses no refusal that several processes add at the same time", async () => {
      beginHour();
      const entry = counted(newId("usr"));
      const stores = [store, new PostgresAuditStore(test.database)];
      await Promise.all(Array.from({ length: 20 }, (_, n) => stores[n % 2]!.count(entry)));
      const { items: events } = await list({ subjectId: entry.subjectId });
      expect(events).toMatchObject([{ details: { count: "20", "from 192.0.2.0/24": "20" } }]);
    });
  });

  it("keeps no event of a transaction that was rolled back", async () => {
    const entry = newEntry();
    const failed = test.database.transact(async (tx) => {
      await tx.record(entry);
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow();
    expect((await list({ subjectId: entry.subjectId })).items).toEqual([]);
  });

  it("finds events by subject, by actor, and by a time span that includes its start and excludes its end", async () => {
    const [actorId, subjectId] = [newId("usr"), newId("key")];
    const entries = [newEntry({ actorId }), newEntry({ subjectId }), newEntry({ actorId, subjectId })];
    for (const entry of entries) {
      await record(entry);
      test.clock.advance(SECONDS);
    }
    const subjectsOf = async (filter: Partial<AuditFilter>) =>
      (await list(filter)).items.map((event) => event.subjectId);
    expect(await subjectsOf({ actorId })).toEqual([subjectId, entries[0]!.subjectId]);
    expect(await subjectsOf({ subjectId })).toEqual([subjectId, subjectId]);
    expect(await subjectsOf({ actorId, subjectId })).toEqual([subjectId]);
    const [first, second] = (await list({ actorId })).items.map(({ happenedAtMs }) => happenedAtMs).reverse();
    expect(await subjectsOf({ actorId, startMs: second })).toEqual([subjectId]);
    expect(await subjectsOf({ actorId, endMs: second })).toEqual([entries[0]!.subjectId]);
    expect(await subjectsOf({ actorId, startMs: first, endMs: first })).toEqual([]);
    expect(await subjectsOf({ actorId: newId("usr") })).toEqual([]);
  });

  it("lists events newest first in pages without gap or repetition, even if many have the same time", async () => {
    const subjectId = newId("key");
    await test.database.transact(async (tx) => {
      for (let n = 0; n < 12; n++) await tx.record(newEntry({ subjectId, details: { n: `${n}` } }));
    });
    const all = (await list({ subjectId })).items;
    const paged = [];
    for (let after: PagePosition | undefined; ; ) {
      const page = await list({ subjectId }, 5, after);
      paged.push(...page.items);
      after = page.next;
      if (after === undefined) break;
    }
    expect(paged).toEqual(all);
    expect(new Set(all.map(({ id }) => id)).size).toBe(12);
    const order = all.map(({ happenedAtMs, id }) => [happenedAtMs, id] as const);
    expect(order.toSorted((a, b) => b[0] - a[0] || (a[1] < b[1] ? 1 : -1))).toEqual(order);
  });

  it("deletes all events that are older than asked for, and no others", async () => {
    const subjectId = newId("key");
    await test.database.write(
      `insert into audit_events select 'old_' || n, ${test.database.now} - interval '31 days', 'key.issued', '', ?, '', '{}'
       from generate_series(1, 5000) n`,
      [subjectId],
    );
    await record(newEntry({ subjectId }));
    const rows = async () =>
      (await test.database.read("select count(*)::int as count from audit_events where subject_id = ?", [subjectId]))[0]
        ?.count;
    expect(await store.prune(32 * DAYS)).toBe(false);
    expect(await rows()).toBe(5001);
    for (const left of [3001, 1001, 1]) {
      expect(await store.prune(30 * DAYS)).toBe(left > 1);
      expect(await rows()).toBe(left);
    }
    test.clock.advance(31 * DAYS);
    expect(await store.prune(30 * DAYS)).toBe(false);
    expect(await rows()).toBe(0);
  });
});
