import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ChangeStore, MAX_CHANGES_PER_POLL, type Poll } from "../../src/changes/change-store.ts";
import { positionOf, xmaxOf } from "../../src/changes/snapshot.ts";
import { EmbeddedChangeStore, PostgresChangeStore } from "../../src/postgres/stores/change-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { until } from "../support/until.ts";

describe.each(DATABASE_KINDS)("ChangeStore on %s", (kind) => {
  let test: TestDatabase;
  let store: ChangeStore;
  let stopListening = () => {};
  let signals = 0;
  beforeAll(async () => {
    test = await openDatabase(kind);
    const { target } = test.database;
    store =
      target.kind === "postgres"
        ? new PostgresChangeStore(test.database, target.connection)
        : new EmbeddedChangeStore(test.database);
    stopListening = store.listen(() => signals++);
  });
  afterAll(async () => {
    stopListening();
    await test?.[Symbol.asyncDispose]();
  });

  const change = (subjectId: string) => test.database.transact((tx) => tx.changed("KEY", subjectId));
  /**
   * Polls until no other transaction runs on the server. A snapshot also names transactions of other databases, and
   * does not show that they are foreign. After the end of one, the poll must assume that pruning deleted its rows: a
   * gap.
   */
  const pollAlone = async (poll: () => Promise<Poll>, ownUnderWay = 0) => {
    for (;;) {
      const seen = await poll();
      const underWay = seen.snapshot.split(":")[2]!.match(/\d+/g) ?? [];
      if (underWay.length === ownUnderWay) return seen;
    }
  };
  const subjects = (poll: { changes: readonly { subjectId: string }[] }) => poll.changes.map((c) => c.subjectId).sort();

  it("returns no changes at first, and then each change exactly once", async () => {
    await change("before");
    const first = await store.poll(undefined);
    expect(first.changes).toEqual([]);
    expect(first).toMatchObject({ isInRecovery: false, hasGap: false });
    expect(first.epoch.systemId).toMatch(/^\d+$/);
    expect(first.epoch.timeline).toBeGreaterThan(0);
    await change("a");
    await change("b");
    const second = await store.poll(first.snapshot);
    expect(subjects(second)).toEqual(["a", "b"]);
    expect(second.xmax).toBeGreaterThan(first.xmax);
    expect(second.epoch).toEqual(first.epoch);
    expect(first.epoch.incarnation).toMatch(/^[0-9a-f-]{36}$/);
    expect(subjects(await store.poll(second.snapshot))).toEqual([]);
    expect(subjects(await store.poll(first.snapshot))).toEqual(["a", "b"]);
  });

  it("returns what changed, when, and at which position it was found", async () => {
    const { snapshot } = await store.poll(undefined);
    await test.database.transact(async (tx) => {
      await tx.changed("OWNER", "usr_x");
      await tx.changed("SESSION", "ses_y");
    });
    const { changes, databaseMs, snapshot: found } = await store.poll(snapshot);
    expect(changes.map(({ kind: of }) => of).sort()).toEqual(["OWNER", "SESSION"]);
    expect(changes.map(({ position }) => position)).toEqual(changes.map(() => positionOf(found)));
    expect(positionOf(found)).toBeGreaterThan(positionOf(snapshot));
    expect(Math.abs(changes[0]!.changedAtMs - databaseMs)).toBeLessThan(5000);
  });

  it("has the number of complete transactions as the position of its snapshot", async () => {
    const own = async (sql: string) => BigInt((await test.database.read(sql, []))[0]!.n as string);
    const { snapshot, xmax } = await store.poll(undefined);
    const literal = `'${snapshot}'::pg_snapshot`;
    expect(xmaxOf(snapshot)).toBe(xmax);
    expect(positionOf(snapshot)).toBe(
      await own(
        `select (pg_snapshot_xmax(${literal})::text::bigint - (select count(*) from pg_snapshot_xip(${literal})))::text n`,
      ),
    );
  });

  it("sends a signal soon after a commit", async () => {
    await store.poll(undefined);
    const before = signals;
    await change("signalled");
    await until(async () => signals > before, "the signal arrives");
    expect(store.isListening).toBe(true);
  });

  it("reports a gap if changes that a reader has not seen were pruned", async () => {
    const { snapshot } = await store.poll(undefined);
    await change("old");
    test.clock.advance(86_400_000 * 2);
    expect(await store.prune(86_400_000)).toBe(false);
    expect((await store.poll(snapshot)).hasGap).toBe(true);
    const now = await pollAlone(() => store.poll(undefined));
    expect((await store.poll(now.snapshot)).hasGap).toBe(false);
    expect(await test.database.read("select 1 from changes", [])).toEqual([]);
  });

  const changeMany = (count: number) =>
    test.database.write(
      "insert into changes (kind, subject_id) select 'KEY', n::text from generate_series(1, ?::int) n",
      [count],
    );

  it("returns the maximum number of changes of a poll, and reports only a gap if there is one more", async () => {
    const { snapshot } = await pollAlone(() => store.poll(undefined));
    await changeMany(MAX_CHANGES_PER_POLL);
    const most = await store.poll(snapshot);
    expect(most).toMatchObject({ hasGap: false });
    expect(most.changes).toHaveLength(MAX_CHANGES_PER_POLL);
    await change("one more");
    const { hasGap, changes, snapshot: next } = await pollAlone(() => store.catchUp(snapshot));
    expect({ hasGap, changes }).toEqual({ hasGap: true, changes: [] });
    expect(await store.poll(next)).toMatchObject({ hasGap: false, changes: [] });
  });

  it("deletes old changes step by step, until none is left", async () => {
    await changeMany(12_000);
    test.clock.advance(86_400_000 * 2);
    const portions = [];
    do portions.push(await store.prune(86_400_000));
    while (portions.at(-1));
    expect(portions.length).toBeGreaterThan(2);
    expect(await test.database.read("select 1 from changes", [])).toEqual([]);
  });

  it("reads for a client with an invented snapshot, and at most the maximum of a poll", async () => {
    await changeMany(MAX_CHANGES_PER_POLL + 1);
    expect(await store.catchUp("1:1:")).toMatchObject({ hasGap: true, changes: [] });
    expect(await store.catchUp("1:9223372036854775807:")).toMatchObject({ changes: [] });
  });

  // The embedded database has one connection, so no two transactions run at the same time.
  const onPostgres = kind === "postgres" ? it : () => {};

  onPostgres("loses nothing of a transaction that began early and commits late", async () => {
    const { snapshot } = await store.poll(undefined);
    const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
    const { promise: hasWritten, resolve: written } = Promise.withResolvers<void>();
    const late = test.database.transact(async (tx) => {
      await tx.changed("KEY", "late");
      written();
      await mayCommit;
    });
    await hasWritten;
    for (let n = 0; n < 20; n++) await change(`early${n}`);
    const between = await store.poll(snapshot);
    expect(between.changes).toHaveLength(20);
    commit();
    await late;
    const after = await store.poll(between.snapshot);
    // Control: by its sequence number, the late change comes before changes that were read already.
    const ids = await test.database.read("select id::int, subject_id from changes order by id", []);
    const order = ids.map((row) => row.subject_id);
    expect(order.indexOf("late")).toBeLessThan(order.indexOf("early0"));
    expect(subjects(after)).toEqual(["late"]);
    expect(positionOf(after.snapshot)).toBeGreaterThan(positionOf(between.snapshot));
  });

  onPostgres("misses no change of a transaction that is open for longer than changes are kept", async () => {
    await change("seen");
    const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
    const { promise: hasWritten, resolve: written } = Promise.withResolvers<void>();
    const old = test.database.transact(async (tx) => {
      await tx.changed("KEY", "old");
      written();
      await mayCommit;
    });
    await hasWritten;
    await change("later");
    const { snapshot, xmin, xmax } = await pollAlone(() => store.poll(undefined), 1);
    expect(xmin, "the control: the transaction is under way").toBeLessThan(xmax);
    test.clock.advance(86_400_000 * 2);
    while (await store.prune(86_400_000));
    const during = await store.poll(snapshot);
    expect({ hasGap: during.hasGap, changes: subjects(during) }).toEqual({ hasGap: false, changes: [] });
    commit();
    await old;
    // The transaction ended after rows of its age were pruned. The poll can't know whether its own rows were among
    // them.
    const after = await pollAlone(() => store.poll(during.snapshot));
    expect(after).toMatchObject({ hasGap: true, changes: [] });
    expect(await store.poll(after.snapshot)).toMatchObject({ hasGap: false, changes: [] });
  });

  onPostgres("does not take a stall of this process for an outage", async () => {
    await store.poll(undefined);
    const polling = store.poll(undefined);
    await new Promise((resolve) => setImmediate(resolve));
    const startMs = performance.now();
    while (performance.now() - startMs < 800);
    expect(await polling).toMatchObject({ isInRecovery: false });
    expect(store.isListening).toBe(true);
  });

  onPostgres("connects and listens again after its connection was ended", async () => {
    await store.poll(undefined);
    const end =
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'latchkey-changes' and datname = current_database()";
    await test.database.read(end, []);
    await until(
      async () => (await store.poll(undefined).catch(() => undefined)) !== undefined,
      "it is connected again",
    );
    const before = signals;
    await change("again");
    await until(async () => signals > before, "the signal arrives");
  });
});
