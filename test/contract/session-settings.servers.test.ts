/** Every statement of the service runs with its own settings, whatever the defaults of the database. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, type ManagedDatabase } from "../../src/postgres/database.ts";
import { freshUrl, postgresTarget, TESTER } from "../support/database.ts";
import { sql } from "../support/own-postgres.ts";
import { canStart, serverFor } from "../support/shared-servers.ts";

/** Defaults of the database, and the values that the service's statements must have instead. */
const SETTINGS: Readonly<Record<string, readonly [hostile: string, ours: string]>> = {
  DateStyle: ["German, DMY", "ISO, MDY"],
  IntervalStyle: ["sql_standard", "postgres"],
  TimeZone: ["Asia/Kathmandu", "UTC"],
  extra_float_digits: ["-15", "1"],
  bytea_output: ["escape", "hex"],
  array_nulls: ["off", "on"],
  transform_null_equals: ["on", "off"],
  exit_on_error: ["on", "off"],
  row_security: ["on", "off"],
  search_path: ["public, pg_catalog", '"public", pg_temp'],
  default_transaction_isolation: ["serializable", "serializable"],
  transaction_isolation: ["", "read committed"],
  transaction_deferrable: ["", "off"],
  lock_timeout: ["1ms", "900ms"],
  statement_timeout: ["100s", "1s"],
  idle_in_transaction_session_timeout: ["1ms", "15s"],
  synchronous_commit: ["off", "on"],
};

/** The database for administration, whose sessions have no changed defaults. */
const server = () => serverFor("postgres")!;

describe.skipIf(!canStart("postgres"))("with any defaults of the database", () => {
  let url: string;
  let database: ManagedDatabase;
  beforeAll(async () => {
    url = await freshUrl();
    const name = new URL(url).pathname.slice(1);
    for (const [setting, [hostile]] of Object.entries(SETTINGS)) {
      const value = setting === "search_path" ? hostile : `'${hostile}'`;
      if (hostile !== "") await sql(server(), `alter database "${name}" set ${setting} = ${value}`);
    }
    await sql(server(), `alter database "${name}" set default_transaction_read_only = on`);
    await sql(server(), `alter database "${name}" set default_transaction_deferrable = on`);
    database = (await Database.open({ target: postgresTarget(url) })).for(TESTER);
  });
  afterAll(() => database?.close());

  const shown = Object.keys(SETTINGS)
    .map((name) => `current_setting('${name}') as "${name}"`)
    .join(", ");
  const ours = Object.fromEntries(Object.entries(SETTINGS).map(([name, [, value]]) => [name, value]));

  it("a statement, a transaction and a hot read have the settings that the service depends on", async () => {
    const show = `select ${shown}, current_setting('transaction_read_only') as read_only`;
    expect(await database.unproven(show, [])).toEqual([{ ...ours, read_only: "off" }]);
    const inside = await database.transact(({ em }) => em.execute<Record<string, unknown>[]>(show));
    expect(inside).toEqual([{ ...ours, read_only: "off" }]);
    const { rows } = await database.hotRead(show, []);
    // A hot read writes nothing, so it needs no durable commit.
    const { synchronous_commit, ...ofReads } = ours;
    expect(rows[0]).toMatchObject({ ...ofReads, statement_timeout: "120ms", lock_timeout: "0", read_only: "on" });
    // Control: another session has the defaults of the database.
    const hostile = JSON.parse(await sql(url, `select to_json(s) from (select ${shown}) s`));
    expect(hostile).toMatchObject({
      DateStyle: "German, DMY",
      synchronous_commit: "off",
      transaction_isolation: "serializable",
    });
  });

  it("synchronous_commit keeps a value that promises more than `on`", async () => {
    const name = new URL(url).pathname.slice(1);
    await sql(server(), `alter database "${name}" set synchronous_commit = remote_apply`);
    const other = (await Database.open({ target: postgresTarget(url) })).for(TESTER);
    const [row] = await other.unproven("select current_setting('synchronous_commit') as it", []);
    expect(row).toEqual({ it: "remote_apply" });
    await other.close();
  });

  it("times and bytes are read exactly", async () => {
    const at = new Date("2026-01-02T03:04:05.678Z");
    const [row] = await database.unproven(
      `select (extract(epoch from ?::timestamptz) * 1000)::float8 as ms, ?::timestamptz as at, '\\x00ff27'::bytea as bytes`,
      [at.toISOString(), at.toISOString()],
    );
    expect(row!.ms).toBe(at.getTime());
    expect(new Date(row!.at as string).getTime()).toBe(at.getTime());
    expect([...(row!.bytes as Uint8Array)]).toEqual([0, 255, 39]);
  });

  it("a text is read as it was written, whatever it contains", async () => {
    for (const text of ["it's", "a \\ b", "\\'; drop table users; --", "$1 ? ?? $2", "é 😀 \n\t"]) {
      expect(await database.unproven("select ?::text as it", [text])).toEqual([{ it: text }]);
    }
  });

  it("a hot read can't write", async () => {
    const failed = await database.hotRead("delete from changes returning 1", []).catch((error: unknown) => error);
    expect(failed).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    const writing = await database
      .hotRead("select pg_notify('x', '') is null as x, nextval('changes_id_seq') as n", [])
      .catch((error: unknown) => error);
    expect(writing).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  });
});
