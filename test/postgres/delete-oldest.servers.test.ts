/** Retention on a table with a backlog: portions of bounded size, one at a time among all processes, and no waits. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ManagedDatabase } from "../../src/postgres/database.ts";
import { deleteOldest, MAX_DELETED, MAY_PRUNE } from "../../src/postgres/delete-oldest.ts";
import { EmbeddedChangeStore } from "../../src/postgres/stores/change-store.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { canStart } from "../support/shared-servers.ts";

const DAY_MS = 86_400_000;
const BACKLOG = 3 * MAX_DELETED;

describe.skipIf(!canStart("postgres"))("with months of backlog", () => {
  let test: TestDatabase;
  let processes: readonly ManagedDatabase[];
  beforeAll(async () => {
    test = await openDatabase("postgres");
    processes = await test.processes();
  });
  afterAll(() => test?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    await test.database.write("delete from audit_events where id like 'old_%'", []);
    await test.database.write(
      `insert into audit_events
       select 'old_' || n, now() - n * interval '1 minute' - interval '60 days', 'key.issued', '', '', '', '{}'
       from generate_series(1, ${BACKLOG}) n`,
      [],
    );
  });

  const left = async () =>
    (await test.database.read("select count(*)::int as count from audit_events where id like 'old_%'", []))[0]!.count;
  const prune = (database: ManagedDatabase) => deleteOldest(database, "audit_events", 30 * DAY_MS);

  it("one statement deletes at most MAX_DELETED rows, the oldest first", async () => {
    expect(await prune(test.database)).toBe(true);
    expect(await left()).toBe(BACKLOG - MAX_DELETED);
    const oldest = await test.database.read(
      "select max(substr(id, 5)::int) as n from audit_events where id like 'old_%'",
      [],
    );
    expect(oldest[0]!.n).toBe(BACKLOG - MAX_DELETED);
  });

  it("while one process deletes, the others delete nothing, and wait for nothing", async () => {
    await processes[0]!.transact(async ({ em }) => {
      await em.execute(`select ${MAY_PRUNE}`);
      expect(await Promise.all(processes.slice(1).map(prune))).toEqual([false, false]);
      const changes = new EmbeddedChangeStore(processes[1]!);
      expect(await changes.prune(0)).toBe(false);
      expect(await new PostgresLoginFailureStore(processes[1]!, 0).prune()).toBe(false);
    });
    expect(await left()).toBe(BACKLOG);
    expect(await prune(processes[1]!)).toBe(true);
  });

  it("skips the rows that a call has locked, and does not wait for them", async () => {
    await processes[0]!.transact(async ({ em }) => {
      await em.execute(`select id from audit_events where id = 'old_${BACKLOG}' for update`);
      expect(await prune(processes[1]!)).toBe(true);
      expect(await left()).toBe(BACKLOG - MAX_DELETED);
    });
    const [row] = await test.database.read("select 1 from audit_events where id = ?", [`old_${BACKLOG}`]);
    expect(row).toBeDefined();
  });

  it("calls that write events go on beside a deletion that has not committed", async () => {
    await processes[0]!.transact(async ({ em }) => {
      await em.execute("delete from audit_events where id like 'old_%'");
      await processes[1]!.transact((tx) =>
        tx.record({ kind: "key.issued", actorId: "", subjectId: "", clientIp: "192.0.2.1" }),
      );
    });
    expect(await left()).toBe(0);
  });
});
