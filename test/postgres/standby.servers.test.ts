import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, type ManagedDatabase } from "../../src/postgres/database.ts";
import { postgresTarget, TESTER } from "../support/database.ts";
import { demote, type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { recordingLog } from "../support/recording-log.ts";
import { canStart } from "../support/shared-servers.ts";

const SOME = "select version from master_key_checks";
const NONE = `${SOME} where version < 0`;

describe.skipIf(!canStart("postgres"))("a standby", () => {
  let postgres: PostgresServer;
  let database: ManagedDatabase;
  beforeAll(async () => {
    postgres = await startPostgres();
    database = (await Database.open({ target: postgresTarget(postgres.url(), 2), log: recordingLog() })).for(TESTER);
    await database.migrate();
    await database.write("insert into master_key_checks (version, check_value) values (7, '')", []);
    // Control: the same server answers as a primary.
    expect([await database.read(SOME, []), await database.read(NONE, [])]).toMatchObject([[{ version: 7 }], []]);
    await demote(postgres);
    expect(await postgres.sql(SOME)).toBe("7");
  });
  afterAll(async () => {
    await database?.close();
    await postgres?.stop();
  });

  it.each<[door: string, ask: () => Promise<unknown>]>([
    ["a read with a row", () => database.read(SOME, [])],
    ["a read without one", () => database.read(NONE, [])],
    ["a hot read with a row", () => database.hotRead(SOME, [])],
    ["a hot read without one", () => database.hotRead(NONE, [])],
    ["a transaction that reads", () => database.transact(({ em }) => em.execute(SOME))],
    ["a write", () => database.write("update master_key_checks set version = 8", [])],
    ["a write without a row", () => database.write("delete from master_key_checks where version < 0", [])],
    [
      "a write that begins with a CTE",
      () => database.write(`with v as (${NONE}) update master_key_checks c set version = 0 from v`, []),
    ],
  ])("counts as unreachable for %s", async (_door, ask) => {
    // Connections from before the restart fail once with another code.
    await expect
      .poll(() => ask().catch((error: unknown) => error), { timeout: 10_000 })
      .toMatchObject({ reason: "DATABASE_UNAVAILABLE", cause: { code: "25006" } });
  });
});
