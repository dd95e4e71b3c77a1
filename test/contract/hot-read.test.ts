import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, type ManagedDatabase } from "../../src/postgres/database.ts";
import { freshTarget, TESTER } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { recordingLog } from "../support/recording-log.ts";

const UNFORESEEN = { message: expect.stringContaining("unknown error") };

describe.each(DATABASE_KINDS)("a hot read on %s", (kind) => {
  const log = recordingLog();
  let database: ManagedDatabase;
  let remove: () => Promise<void>;
  beforeAll(async () => {
    const fresh = await freshTarget(kind);
    remove = fresh.remove;
    database = (await Database.open({ target: fresh.target, log })).for(TESTER);
  });
  afterAll(async () => {
    await database?.close();
    await remove?.();
  });

  it.each([
    ["22012", "select 1 / 0 as broken", UNFORESEEN],
    ["42P01", "select * from nowhere", { fields: { meaning: expect.stringContaining("a table is missing") } }],
    ["40001", "select raise_fault('40001')", UNFORESEEN],
  ])("that fails with %s counts as an unreachable database, and logs why", async (code, sql, said) => {
    await database.write(
      `create or replace function raise_fault(code text) returns int language plpgsql as $$
         begin raise exception 'x' using errcode = code; end $$`,
      [],
    );
    const failed = await database.hotRead(sql, []).catch((error: unknown) => error);
    expect(failed).toMatchObject({ reason: "DATABASE_UNAVAILABLE", cause: expect.anything() });
    expect(JSON.stringify(causesOf(failed))).toContain(code);
    expect(log.lines.at(-1)).toMatchObject({ level: "error", ...said });
    // Control: the same database answers a correct statement.
    expect((await database.hotRead("select 7 as n", [])).rows).toMatchObject([{ n: 7 }]);
  });
});

function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = [];
  for (let e = error; e instanceof Error; e = e.cause) causes.push((e as { code?: unknown }).code);
  return causes;
}
