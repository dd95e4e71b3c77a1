import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";

describe.each(DATABASE_KINDS)("one statement outside of a transaction on %s", (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await openDatabase(kind);
    await test.database.write("create table things (id int primary key, at timestamptz)", []);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const ids = async (order: string) =>
    (await test.database.read(`select id from things order by ${order}`, [])).map((row) => row.id);

  it("returns rows in the order of the statement, and none if there are none", async () => {
    expect(await ids("id")).toEqual([]);
    await test.database.write(
      "insert into things select n, now() - n * interval '1 day' from generate_series(1, ?::int) n",
      [500],
    );
    const upward = Array.from({ length: 500 }, (_, n) => n + 1);
    expect(await ids("id")).toEqual(upward);
    expect(await ids("id desc")).toEqual(upward.toReversed());
    expect(await ids("at")).toEqual(upward.toReversed());
    expect(await ids("id % 7, id desc limit 3")).toEqual([497, 490, 483]);
  });

  it("writes and returns the number of rows, with and without a CTE", async () => {
    const { database } = test;
    expect(await database.write("update things set at = null where id <= ?::int", [5])).toBe(5);
    expect(await database.write("update things set at = null where id < 0", [])).toBe(0);
    const gone =
      "with old as (select id from things order by id limit 7) delete from things t using old where t.id = old.id";
    expect(await database.write(gone, [])).toBe(7);
    const one = "insert into things (id) values (?::int) on conflict do nothing";
    expect([await database.write(one, [1]), await database.write(one, [1])]).toEqual([1, 0]);
  });
});
