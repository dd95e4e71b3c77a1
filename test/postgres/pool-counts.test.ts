import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { countStatements, PoolCounts } from "../../src/postgres/connections/pool-counts.ts";

const refused = (code: string) => Promise.reject(Object.assign(new Error("refused"), { code }));

/** A pool with one connection, whose statements end as `outcome` says. */
function setUp(connect: () => unknown = () => Promise.resolve()) {
  const counts = new PoolCounts();
  const pool = Object.assign(new EventEmitter(), { connect });
  countStatements(counts)(pool as never);
  const client = { query: (outcome: unknown): unknown => outcome };
  pool.emit("connect", client);
  const answers = () => counts.querySeconds.counts.reduce((sum, each) => sum + each);
  return { counts, pool, client, answers };
}

it("every statement of a pool is timed, and its answer stays the same", async () => {
  const { counts, client, answers } = setUp();
  expect(await client.query(Promise.resolve("rows"))).toBe("rows");
  await expect(client.query(refused("57014"))).rejects.toMatchObject({ code: "57014" });
  expect(client.query("a callback follows")).toBe("a callback follows");
  expect([answers(), counts.failures]).toEqual([2, 1]);
});

it("a row that exists already is no failure of the database", async () => {
  const { counts, client, answers } = setUp();
  await expect(client.query(refused("23505"))).rejects.toMatchObject({ code: "23505" });
  expect([answers(), counts.failures]).toEqual([1, 0]);
});

it("a connection that can't be opened is a failure", async () => {
  const { counts, pool, answers } = setUp(() => refused("ECONNREFUSED"));
  await expect(pool.connect()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  expect([answers(), counts.failures]).toEqual([0, 1]);
});
