import { describe, expect, it } from "vitest";
import { childrenOf, isDead, procStat } from "./child-process.ts";
import { sql, startPostgres } from "./own-postgres.ts";
import { canStart, freshPostgres } from "./shared-servers.ts";

describe.skipIf(!canStart("postgres"))("a PostgreSQL that a test starts", () => {
  it("keeps committed data when it is killed, and restarts on the same port", async () => {
    await using postgres = await startPostgres();
    await postgres.sql("create table t (n int); insert into t values (42)");
    const pids = [postgres.pid, ...childrenOf(postgres.pid)];

    await postgres.kill();
    expect(pids.length, "it had children").toBeGreaterThan(3);
    expect(pids.filter((pid) => !isDead(pid))).toEqual([]);
    await expect(postgres.sql("select 1")).rejects.toThrow("Connection refused");

    await postgres.restart();
    expect(await postgres.sql("select n from t")).toBe("42");
    const secondPid = postgres.pid;
    await postgres.restart();
    expect(postgres.pid).not.toBe(secondPid);
    expect(await postgres.sql("select n from t")).toBe("42");
  });

  it("freezes with every backend, and continues when it is resumed", async () => {
    await using postgres = await startPostgres();
    const busy = postgres.sql("select pg_advisory_lock(1); select pg_sleep(0.3)");
    while ((await postgres.sql("select count(*) from pg_locks where locktype = 'advisory'")) === "0");
    await postgres.freeze();
    const pids = [postgres.pid, ...childrenOf(postgres.pid)].filter((pid) => !isDead(pid));
    expect(pids.length, "with its background processes and one backend").toBeGreaterThan(4);
    expect(pids.map((pid) => procStat(pid)?.state)).toEqual(pids.map(() => "T"));
    postgres.resume();
    await busy;
  });

  it("makes a database as a copy of a template", async () => {
    await using postgres = await startPostgres();
    await sql(await postgres.createDatabase("first"), "create table t (n int); insert into t values (7)");
    const copy = await postgres.createDatabase("second", "first");
    expect(copy).toBe(postgres.url("second"));
    expect(await sql(copy, "select n from t")).toBe("7");
  });

  it("stops while it is frozen and leaves no process behind", async () => {
    const postgres = await startPostgres();
    await postgres.freeze();
    const pids = [postgres.pid, ...childrenOf(postgres.pid)];
    await postgres.stop();
    expect(pids.filter((pid) => !isDead(pid))).toEqual([]);
  });
});

it.skipIf(!canStart("postgres"))("each fresh database of the run's PostgreSQL is empty", async () => {
  const [one, two] = [await freshPostgres(), await freshPostgres()];
  await sql(one, "create table t (n int)");
  expect(await sql(two, "select to_regclass('t') is null")).toBe("t");
});
