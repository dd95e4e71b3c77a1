import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { EmbeddedChangeStore, PostgresChangeStore } from "../../src/postgres/stores/change-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";

const OTHER = "00000000-0000-4000-8000-000000000001";
const AWAY = { reason: "DATABASE_UNAVAILABLE" };

describe.each(DATABASE_KINDS)("the history of a database on %s", (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await openDatabase(kind);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** A feed, which decides which history the other connections must belong to. */
  const newStore = () => {
    const { target } = test.database;
    return target.kind === "postgres"
      ? new PostgresChangeStore(test.database, target.connection)
      : new EmbeddedChangeStore(test.database);
  };
  const poll = async (since?: string) => {
    const store = newStore();
    const end = store.listen(() => {});
    try {
      return await store.poll(since);
    } finally {
      end();
    }
  };
  const write = (sql: string) => test.database.write(sql, []);
  const ONE = "select 1 as n";

  beforeEach(async () => {
    await poll();
  });

  it("keeps its incarnation from poll to poll", async () => {
    const { epoch } = await poll();
    expect((await poll()).epoch).toEqual(epoch);
  });

  it.each([
    ["was lost", "delete from change_incarnation"],
    ["came by a template, whose table has another file", "update change_incarnation set path = 'base/1/1'"],
    [
      "came by a dump, or with an old disk",
      "update change_incarnation set server_start = server_start - interval '1 s'",
    ],
    ["is not valid, because the horizon is of another history", "update change_horizon set pruned = '9000000000000'"],
  ])("begins another incarnation if the one before %s", async (_how, sql) => {
    const before = await poll();
    await write(sql);
    const after = await poll(before.snapshot);
    expect(after.epoch.incarnation).toMatch(/^[0-9a-f-]{36}$/);
    expect(after.epoch.incarnation).not.toBe(before.epoch.incarnation);
    expect(after.hasGap).toBe(false);
    expect((await poll(after.snapshot)).epoch).toEqual(after.epoch);
  });

  it("deletes all changes of transactions that it has not begun yet, and reports none", async () => {
    const before = await poll();
    await write(
      `insert into changes (xact_id, kind, subject_id)
       select (9000000000000 + n)::text::xid8, 'KEY', 'foreign' from generate_series(1, 12000) n`,
    );
    const after = await poll(before.snapshot);
    expect({ changes: after.changes, hasGap: after.hasGap }).toEqual({ changes: [], hasGap: false });
    expect(await test.database.read("select 1 from changes where subject_id = 'foreign'", [])).toEqual([]);
  });

  it("gets a single incarnation if several processes find none at the same time", async () => {
    await write("delete from change_incarnation");
    const polls = await Promise.all(Array.from({ length: 6 }, () => poll()));
    const incarnations = new Set(polls.map(({ epoch }) => epoch.incarnation));
    expect(incarnations.size).toBe(1);
    const rows = await test.database.read("select id from change_incarnation", []);
    expect(rows.map(({ id }) => id)).toEqual([...incarnations]);
  });

  it("is proven by each read and transaction before anything else", async () => {
    const { history } = test.database;
    let others = 0;
    history.whenOther(() => others++);
    history.follow(OTHER);
    let isDone = false;
    const work = async () => {
      isDone = true;
    };
    await expect(test.database.hotRead(ONE, [])).rejects.toMatchObject(AWAY);
    await expect(test.database.read(ONE, [])).rejects.toMatchObject(AWAY);
    await expect(test.database.transact(work)).rejects.toMatchObject(AWAY);
    await expect(newStore().catchUp(undefined)).rejects.toMatchObject(AWAY);
    expect({ isDone, others: others >= 4 }).toEqual({ isDone: false, others: true });
    // Control: the next poll of the feed decides which history is followed.
    await poll();
    expect((await test.database.hotRead(ONE, [])).rows).toMatchObject([{ n: 1 }]);
    expect(await test.database.read(ONE, [])).toMatchObject([{ n: 1 }]);
    await test.database.transact(work);
    expect(isDone).toBe(true);
    expect((await newStore().catchUp(undefined)).changes).toEqual([]);
  });

  it("gives a client no cursor as long as it has no incarnation", async () => {
    await write("delete from change_incarnation");
    await expect(newStore().catchUp(undefined)).rejects.toMatchObject(AWAY);
  });

  it("is compared again after a COMMIT, so that a commit to another history is not acknowledged", async () => {
    const before = test.changes.length;
    const committed = test.database.transact(async (tx) => {
      await tx.changed("KEY", "key_elsewhere");
      test.database.history.follow(OTHER);
    });
    await expect(committed).rejects.toMatchObject({ ...AWAY, message: expect.stringContaining("unknown") });
    expect(test.changes.slice(before), "copies here learn of it").toEqual([
      { kind: "KEY", subjectId: "key_elsewhere" },
    ]);
  });

  const onPostgres = kind === "postgres" ? it : () => {};

  onPostgres("closes connections that are of another one, and asks the next", async () => {
    const { history } = test.database;
    const pids = async () =>
      (
        await Promise.all(
          [1, 2, 3, 4].map(() => test.database.hotRead("select pg_backend_pid() as pid, pg_sleep(0.02)", [])),
        )
      ).map(({ rows }) => rows[0]!.pid as number);
    const before = new Set(await pids());
    const { epoch } = await poll();
    history.follow(OTHER);
    await expect(test.database.hotRead(ONE, [])).rejects.toMatchObject(AWAY);
    history.follow(epoch.incarnation);
    expect((await pids()).filter((pid) => before.has(pid))).toEqual([]);
  });
});
