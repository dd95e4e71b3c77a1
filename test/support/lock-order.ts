import type { ManagedDatabase } from "../../src/postgres/database.ts";
import type { TestDatabase } from "./database.ts";
import { until } from "./until.ts";

/**
 * Runs two pieces of work that take the lock of one user, each in a process of its own, so that they get it in this
 * order. Both wait for the lock before the first gets it. The embedded database has a single process, so there the
 * second runs after the first.
 */
export async function inThisOrder(
  test: TestDatabase,
  userId: string,
  works: readonly [(at: ManagedDatabase) => Promise<unknown>, (at: ManagedDatabase) => Promise<unknown>],
): Promise<unknown[]> {
  const { database } = test;
  if (database.target.kind === "embedded") return [await works[0](database), await works[1](database)];
  const [holder, ...others] = await test.processes();
  const running: Promise<unknown>[] = [];
  await holder!.transact(async (tx) => {
    await tx.em.execute("select 1 from users where id = ? for update", [userId]);
    for (const [at, work] of works.entries()) {
      running.push(work(others[at]!));
      await until(async () => (await waiting(database)) === running.length, `${running.length} wait for the lock`);
    }
  });
  return Promise.all(running);
}

/** Number of connections that wait for a lock in this database. */
export async function waiting(database: ManagedDatabase): Promise<number> {
  const sql = `select count(*)::int as waiting from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`;
  const [row] = await database.unproven(sql, []);
  return row!.waiting as number;
}
