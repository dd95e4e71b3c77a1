import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/audit-event.ts";
import type { DestinationName, ExportStore, QueuedEvent } from "../../src/audit/export/export-store.ts";
import { HOUR_MS } from "../../src/lib/clock.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { PostgresExportStore } from "../../src/postgres/stores/export-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, SECONDS } from "../support/people.ts";

const LEASE = 60 * SECONDS;

describe.each(DATABASE_KINDS)("ExportStore on %s", (kind) => {
  let test: TestDatabase;
  let store: ExportStore;
  let audit: PostgresAuditStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = new PostgresExportStore(test.database);
    audit = new PostgresAuditStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());
  /** No test leaves a destination behind. */
  beforeEach(async () => {
    await test.database.write("delete from audit_exports where true", []);
    await test.database.write("delete from audit_outbox where true", []);
  });

  const entry = (more: Partial<AuditEntry> = {}): AuditEntry => ({
    ...{
      kind: "key.revoked",
      actorId: newId("svc"),
      subjectId: newId("key"),
      clientIp: "192.0.2.1",
      details: { n: "1" },
    },
    ...more,
  });
  const record = (...entries: readonly AuditEntry[]) =>
    test.database.transact(async (tx) => {
      for (const each of entries) await tx.record(each);
    });
  const subjects = (queued: readonly QueuedEvent[]) => queued.map(({ event }) => event?.subjectId);
  /** Queues `count` events that the trail does not have; `subject` is SQL. */
  const queueMany = (subject: string, count: number) =>
    test.database.write(
      `insert into audit_outbox (destination, event_id, subject_id, queued_at, due_at)
       select 'webhook', 'evt ' || gen_random_uuid(), ${subject}, t.now, t.now
       from generate_series(1, ?::int) n, (select ${test.database.now} as now) t`,
      [count],
    );
  /** As `subjects`, of events that the trail need not have. */
  const queuedSubjects = async (size: number) => {
    const ids = (await store.next("webhook", size)).map(({ queueId }) => Number(queueId));
    const rows = await test.database.read("select id::int, subject_id from audit_outbox where id = any(?::bigint[])", [
      `{${ids.join()}}`,
    ]);
    const subjectOf = new Map(rows.map(({ id, subject_id }) => [id as number, subject_id as string]));
    return ids.map((id) => subjectOf.get(id)!);
  };
  const waiting = async (destination: DestinationName = "webhook") => subjects(await store.next(destination, 100));

  it("queues nothing without a destination, and each later event once for every destination", async () => {
    await record(entry());
    await store.lead("webhook", "one", LEASE);
    await store.lead("lines", "one", LEASE);
    expect(await waiting()).toEqual([]);
    const made = entry();
    await record(made);
    for (const destination of ["webhook", "lines"] as const) {
      expect((await store.next(destination, 100)).map(({ event }) => event)).toEqual([
        { ...made, id: expect.stringMatching(/^evt_\w{16}$/), happenedAtMs: expect.any(Number) },
      ]);
    }
    await store.remove(await store.next("webhook", 100));
    expect([await waiting("webhook"), await waiting("lines")]).toEqual([[], [made.subjectId]]);
  });

  it("queues nothing of a transaction that was rolled back", async () => {
    await store.lead("webhook", "one", LEASE);
    const failed = test.database.transact(async (tx) => {
      await tx.record(entry());
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow();
    expect(await waiting()).toEqual([]);
  });

  it("loses no event of a transaction that commits after a later one was delivered", async () => {
    await store.lead("webhook", "one", LEASE);
    const [, other = test.database] = await test.processes();
    const [early, late] = [entry(), entry()];
    if (kind === "postgres") {
      const { promise: lateIsDelivered, resolve } = Promise.withResolvers<void>();
      const { promise: earlyIsRecorded, resolve: recorded } = Promise.withResolvers<void>();
      const slow = other.transact(async (tx) => {
        await tx.record(early);
        recorded();
        await lateIsDelivered;
      });
      await earlyIsRecorded;
      await record(late);
      const first = await store.next("webhook", 100);
      expect(subjects(first)).toEqual([late.subjectId]);
      await store.remove(first);
      resolve();
      await slow;
    } else {
      await record(early);
    }
    expect(await waiting()).toEqual([early.subjectId]);
  });

  it("gives one holder the destination, until its lease ends or it resigns", async () => {
    expect(await store.lead("webhook", "one", LEASE)).toBe(true);
    expect(await store.lead("webhook", "two", LEASE)).toBe(false);
    expect(await store.lead("lines", "two", LEASE)).toBe(true);
    test.clock.advance(LEASE / 2);
    expect(await store.lead("webhook", "one", LEASE)).toBe(true);
    test.clock.advance(LEASE / 2);
    expect(await store.lead("webhook", "two", LEASE)).toBe(false);
    test.clock.advance(LEASE / 2 + SECONDS);
    expect(await store.lead("webhook", "two", LEASE)).toBe(true);
    expect(await store.lead("webhook", "one", LEASE)).toBe(false);
    await store.resign("webhook", "one");
    expect(await store.lead("webhook", "one", LEASE)).toBe(false);
    await store.resign("webhook", "two");
    expect(await store.lead("webhook", "one", LEASE)).toBe(true);
  });

  it("gives one of several holders that ask at the same time the destination", async () => {
    const stores = (await test.processes()).map((database) => new PostgresExportStore(database));
    const led = await Promise.all(
      Array.from({ length: 9 }, (_, n) => stores[n % stores.length]!.lead("webhook", `holder ${n}`, LEASE)),
    );
    expect(led.filter(Boolean)).toHaveLength(1);
  });

  it("returns events in the order in which they were recorded", async () => {
    await store.lead("webhook", "one", LEASE);
    const entries = Array.from({ length: 5 }, () => entry());
    await record(...entries.slice(0, 3));
    await record(...entries.slice(3));
    expect(await waiting()).toEqual(entries.map(({ subjectId }) => subjectId));
    expect(subjects(await store.next("webhook", 2))).toEqual(entries.slice(0, 2).map(({ subjectId }) => subjectId));
  });

  it("lets a delayed event hold up the later events of its subject, and no others", async () => {
    await store.lead("webhook", "one", LEASE);
    const [a, b] = [newId("key"), newId("key")];
    await record(entry({ subjectId: a }), entry({ subjectId: b }), entry({ subjectId: a }), entry({ subjectId: "" }));
    const [first] = await store.next("webhook", 100);
    await store.delay(first!, 60 * SECONDS);
    expect(await waiting()).toEqual([b, ""]);
    await store.delay((await store.next("webhook", 100))[1]!, 60 * SECONDS);
    await record(entry({ subjectId: "" }));
    expect(await waiting(), "events without a subject hold up none").toEqual([b, ""]);
    test.clock.advance(61 * SECONDS);
    const due = await store.next("webhook", 100);
    expect(subjects(due), "the first of each subject, and first those that have not failed").toEqual([b, "", a, "", a]);
    expect(due.map(({ attempts }) => attempts)).toEqual([0, 0, 1, 1, 0]);
  });

  it("returns the first 25 events of a busy subject, and those of others before its second one", async () => {
    await store.lead("webhook", "one", LEASE);
    const [busy, quiet] = [newId("key"), newId("key")];
    await queueMany(`'${busy}'`, 3000);
    await record(entry({ subjectId: quiet }));
    expect((await queuedSubjects(200)).slice(0, 3)).toEqual([busy, quiet, busy]);
    expect(await queuedSubjects(200)).toHaveLength(26);
  });

  it("finds an event behind thousands of a subject that is held up, and of many such subjects", async () => {
    await store.lead("webhook", "one", LEASE);
    const quiet = `z${newId("key")}`;
    await queueMany("'held'", 3000);
    await queueMany("'held ' || n", 2500);
    await test.database.write(
      `update audit_outbox set attempts = 1, due_at = due_at + interval '1 hour'
       where id in (select min(id) from audit_outbox group by subject_id)`,
      [],
    );
    await queueMany("'held'", 1);
    await record(entry({ subjectId: quiet }));
    expect(await queuedSubjects(200)).toEqual([quiet]);
  });

  it("lets subjects take turns, so that those with many events can't keep out others", async () => {
    await store.lead("webhook", "one", LEASE);
    await queueMany("'busy ' || n % 400", 1200);
    const first = `z${newId("key")}`;
    await record(entry({ subjectId: first }));
    const seen = new Set<string>();
    // Nothing is removed: the busy subjects never run out of events.
    for (let n = 0; n < 3; n++) for (const subject of await queuedSubjects(200)) seen.add(subject);
    expect(seen.size).toBe(401);
    expect(seen).toContain(first);
  });

  it("removes events that the trail has deleted, 2,000 at a time, and no others", async () => {
    await store.lead("webhook", "one", LEASE);
    await store.lead("lines", "one", LEASE);
    await queueMany("'gone'", 2500);
    const made = entry();
    await record(made);
    const removed = [];
    for (let n = 0; n < 3; n++) removed.push(await store.removeLost("webhook"));
    expect(removed).toEqual([2000, 500, 0]);
    expect([await waiting("webhook"), await waiting("lines")]).toEqual([[made.subjectId], [made.subjectId]]);
  });

  it("exports an event that counts refusals at once, and after each growth a minute later", async () => {
    // No hour of the database ends meanwhile: it would begin another event.
    test.clock.advance(HOUR_MS - (test.clock.nowMs() % HOUR_MS) + SECONDS);
    await store.lead("webhook", "one", LEASE);
    const subjectId = newId("usr");
    const count = () =>
      audit.count({ ...entry({ subjectId }), kind: "login.failed", about: subjectId, details: { count: "1" } });
    const counts = async () => (await store.next("webhook", 100)).map(({ event }) => event?.details.count);
    await count();
    await count();
    const [read] = await store.next("webhook", 100);
    expect(read?.event?.details.count).toBe("2");
    await count();
    await store.remove([read!]);
    expect(await counts(), "it grew after it was read, so it waits again").toEqual(["3"]);
    await store.remove(await store.next("webhook", 100));
    await count();
    await count();
    expect(await counts()).toEqual([]);
    test.clock.advance(61 * SECONDS);
    expect(await counts()).toEqual(["5"]);
  });

  it("shows an event that the trail has deleted as lost", async () => {
    await store.lead("webhook", "one", LEASE);
    await record(entry());
    test.clock.advance(2 * DAYS);
    await audit.prune(DAYS);
    const lost = await store.next("webhook", 100);
    expect(lost.map(({ event }) => event)).toEqual([undefined]);
    await store.remove(lost);
    expect(await store.next("webhook", 100)).toEqual([]);
  });

  it("tells how many events wait, and for how long", async () => {
    await store.lead("webhook", "one", LEASE);
    expect(await store.backlog("webhook")).toEqual({ waiting: 0, oldestAgeMs: 0 });
    await record(entry());
    test.clock.advance(60 * SECONDS);
    await record(entry());
    const { waiting, oldestAgeMs } = await store.backlog("webhook");
    expect(waiting).toBe(2);
    expect(Math.abs(oldestAgeMs - 60 * SECONDS)).toBeLessThan(5 * SECONDS);
  });

  it("forgets a destination that no process leads, with its events, and keeps the others", async () => {
    await store.lead("lines", "one", LEASE);
    await store.lead("webhook", "one", LEASE);
    const made = entry();
    await record(made);
    expect(await store.forget(7 * DAYS)).toBe(0);
    test.clock.advance(7 * DAYS);
    await store.lead("lines", "one", LEASE);
    test.clock.advance(LEASE);
    expect(await store.forget(7 * DAYS)).toBe(1);
    expect(await store.forget(7 * DAYS)).toBe(0);
    expect([await waiting("webhook"), await waiting("lines")]).toEqual([[], [made.subjectId]]);
    await record(entry());
    expect(await waiting("webhook")).toEqual([]);
  });
});
