/** The command as its operators run it. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/config/config.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { MIGRATIONS } from "../../src/postgres/migrations/migrations.ts";
import { namesOf, optionalOf } from "../../src/postgres/migrations/planned-migration.ts";
import { openPreparedDatabase } from "../../src/start/prepared-database.ts";
import { freePort } from "../support/child-process.ts";
import { freshTarget, freshUrl } from "../support/database.ts";
import { startTestService } from "../support/in-process-service.ts";
import { restoreDatabase, sql } from "../support/own-postgres.ts";
import { recordingLog } from "../support/recording-log.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";

/** Some tests start six processes. */
const TIMEOUT_MS = 240_000;
/** The key of the lock of migrations, as in migration-lock.ts. */
const MIGRATION_LOCK = "7809632594316157049";
const NAMES = namesOf(MIGRATIONS);
const NEWEST = NAMES.at(-1)!;
/** The newest without which the service can't run. */
const NEEDED = NAMES.filter((name) => !optionalOf(MIGRATIONS).includes(name)).at(-1)!;
/** An index that only makes reads faster. */
const INDEX = optionalOf(MIGRATIONS)[0]!;
const TABLES = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";

const migrate = (url: string, ...words: string[]) => runCli("migrate", { DATABASE_URL: url }, ...words);
const note = (url: string, name: string) => sql(url, `insert into mikro_orm_migrations (name) values ('${name}')`);
const forget = (url: string, name: string) => sql(url, `delete from mikro_orm_migrations where name = '${name}'`);

describe("npm run migrate", { timeout: TIMEOUT_MS }, () => {
  it.concurrent.each([[["--yes"]], [["status", "--dry-run"]], [["--json", "--json"]]])(
    "refuses %s with its usage, and with 64",
    async (words) => {
      const said = await runCli("migrate", { DATABASE_URL: "postgres://127.0.0.1:1/none" }, ...words);
      expect(said).toMatchObject({ code: 64, stdout: "", stderr: expect.stringMatching(/^usage: .*\n$/) });
    },
  );

  it.concurrent("knows the embedded database, and makes none to look at", async () => {
    const { target, remove } = await freshTarget("embedded");
    if (target.kind !== "embedded") throw new Error("unreachable");
    const at = (folder: string, ...words: string[]) => runCli("migrate", { LATCHKEY_DATA_DIR: folder }, ...words);
    expect(await at(target.folder, "status")).toMatchObject({ code: 0, stderr: "" });
    expect(await at(target.folder)).toMatchObject({ code: 0, stdout: "the schema is up to date\n" });
    const missing = await at(join(target.folder, "missing"), "--dry-run");
    expect(missing).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("there is no database in") });
    await remove();
  });
});

describe.skipIf(!canStart("postgres"))("npm run migrate on PostgreSQL", { timeout: TIMEOUT_MS }, () => {
  it.concurrent("prints the statements that it would run, changes nothing, and psql can run them", async () => {
    const url = await freshPostgres();
    const before = await migrate(url, "status");
    expect(before).toMatchObject({ code: 3, stderr: "" });
    expect(before.stdout.split("\n")[0]).toBe(`this version needs ${NEWEST}`);
    expect(before.stdout).toContain(`migrations are pending: ${NAMES.length}; run: npm run --silent migrate`);

    const dry = await migrate(url, "--dry-run");
    expect(dry).toMatchObject({ code: 0, stderr: "" });
    const at = NAMES.map((name) => dry.stdout.indexOf(`-- ${name}\n`));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at[0]).toBeGreaterThan(0);
    expect(await sql(url, TABLES)).toBe("0");

    await restoreDatabase(url, dry.stdout);
    const after = await migrate(url, "status");
    expect(after).toMatchObject({ code: 0, stderr: "" });
    expect(after.stdout).toMatch(/\nthe schema is up to date\n$/);
    expect((await migrate(url, "--dry-run")).stdout).toBe("-- the schema is up to date\n");
    // The control: what the command applies itself is the same.
    const other = await freshPostgres();
    expect(await migrate(other)).toMatchObject({ code: 0 });
    const shape = `select string_agg(format('%s.%s %s', table_name, column_name, data_type), ',' order by table_name, column_name)
      from information_schema.columns where table_schema = 'public'`;
    expect(await sql(url, shape)).toBe(await sql(other, shape));
  });

  it.concurrent("applies each migration once, if two commands and a start migrate at once", async () => {
    const url = await freshPostgres();
    const [service, ...said] = await Promise.all([
      startTestService({ DATABASE_URL: url }),
      migrate(url, "--json"),
      migrate(url, "--json"),
    ]);
    await service[Symbol.asyncDispose]();
    expect(said).toMatchObject([{ code: 0 }, { code: 0 }]);
    const applied = said.flatMap(({ stdout }) => JSON.parse(stdout).applied as string[]);
    expect(new Set(applied).size).toBe(applied.length);
    expect((await sql(url, "select name from mikro_orm_migrations order by id")).split("\n")).toEqual(NAMES);
  });

  it.concurrent("says for machines what is applied, pending and of a later version", async () => {
    const url = await freshUrl();
    await forget(url, NEWEST);
    await note(url, "9999-later");
    const pending = await migrate(url, "status", "--json");
    expect(pending.code).toBe(3);
    expect(JSON.parse(pending.stdout)).toEqual({
      state: "pending",
      needed: NEWEST,
      applied: [...NAMES.slice(0, -1), "9999-later"].map((name) => ({
        name,
        apply_time: expect.stringMatching(/^2\d{3}-.*Z$/),
      })),
      pending: [NEWEST],
      later: ["9999-later"],
    });
    const dry = JSON.parse((await migrate(url, "--dry-run", "--json")).stdout);
    expect(dry.migrations).toMatchObject([{ name: NEWEST, before_transaction: expect.any(Array) }]);
    expect(dry.migrations[0].in_transaction.at(-1)).toContain(`values ('${NEWEST}')`);
    await note(url, NEWEST);
    const newer = await migrate(url, "status", "--json");
    expect([newer.code, JSON.parse(newer.stdout).state]).toEqual([4, "newer"]);
  });

  it.concurrent("refuses a schema that this version can't run beside, and so does a start", async () => {
    const url = await freshUrl();
    await note(url, "9999-drop-note-needs-9998");
    const line =
      /the database has the migration 9999-drop-note-needs-9998, beside which this version can't run .*; start a newer version/;
    expect(await migrate(url, "status")).toMatchObject({ code: 5, stdout: expect.stringMatching(line) });
    const refused = await migrate(url);
    expect(refused).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(line) });
    expect(refused.stderr.split("\n")).toHaveLength(2);
    for (const LATCHKEY_MIGRATE of ["true", "false"]) {
      await expect(startTestService({ DATABASE_URL: url, LATCHKEY_MIGRATE })).rejects.toThrow(line);
    }
  });

  it.concurrent("is what a start without LATCHKEY_MIGRATE asks for, in one line, if a migration is pending", async () => {
    const url = await freshPostgres();
    const start = () => startTestService({ DATABASE_URL: url, LATCHKEY_MIGRATE: "false" });
    await expect(start()).rejects.toThrow(`LATCHKEY_MIGRATE is false, and the database lacks ${NAMES.join(", ")}; run`);
    expect(await migrate(url)).toMatchObject({ code: 0 });
    await (await start())[Symbol.asyncDispose]();
    // A migration that only a later call would miss counts too.
    await forget(url, NEEDED);
    await expect(start()).rejects.toThrow(`the database lacks ${NEEDED}; run: npm run --silent migrate`);
  });

  it.concurrent("lets processes start without an index that another process builds", async () => {
    const url = await freshUrl();
    await forget(url, INDEX);
    const builder = new pg.Client({ connectionString: url });
    builder.on("error", () => {});
    await builder.connect();
    await builder.query("begin");
    await builder.query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    const log = recordingLog();
    const ring = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
    const start = async (LATCHKEY_MIGRATE: string) => {
      const config = readConfig({ DATABASE_URL: url, LATCHKEY_MIGRATE });
      const database = await openPreparedDatabase({ config, ring, clock: systemClock, log, waitMs: 0 });
      await database.close();
    };
    for (const migrates of ["true", "false"]) await start(migrates);
    const message = "the database lacks indexes; calls that need them are slower";
    const told = { level: "warn", message, fields: { missing: INDEX } };
    expect(log.lines).toEqual([told, told]);
    // The control: once the lock is free, a start builds the index.
    await builder.end();
    await start("true");
    expect(log.lines).toHaveLength(2);
    expect((await migrate(url, "status")).code).toBe(0);
  });

  it.concurrent("looks with a role that may only read the list, and tells such a role that it can't apply", async () => {
    const url = await freshUrl();
    await forget(url, NEWEST);
    const reader = new URL(url);
    [reader.username, reader.password] = [`reader_${reader.pathname.slice(1)}`, "a-secret-of-the-reader"];
    await sql(url, `create role ${reader.username} login password '${reader.password}'`);
    await sql(url, `grant select on mikro_orm_migrations to ${reader.username}`);
    expect(await migrate(reader.href, "status")).toMatchObject({ code: 3, stderr: "" });
    expect(await migrate(reader.href, "--dry-run")).toMatchObject({ code: 0, stderr: "" });
    const refused = await migrate(reader.href);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/42501 insufficient_privilege: the role lacks a privilege/);
    expect(refused.stderr).not.toContain(reader.password);
  });

  it.concurrent("says every 2 s which migration runs", async () => {
    const url = await freshPostgres();
    await sql(
      url,
      `create sequence slow_steps;
      create function slow() returns event_trigger language plpgsql as $$
        begin if nextval('slow_steps') = 3 then perform pg_sleep(3); end if; end $$;
      create event trigger slow on ddl_command_start execute function slow()`,
    );
    const said = await migrate(url);
    expect(said.code).toBe(0);
    expect(said.stderr).toMatch(
      /^latchkey: the schema is being applied migration=0001-first-schema for_seconds=2\n(latchkey: the schema is .*\n)*$/,
    );
    expect(said.stdout.split("\n")).toEqual([
      ...NAMES.map((name) => `applied ${name}`),
      "the schema is up to date",
      "",
    ]);
  });

  it.concurrent("says that an unreachable database is unreachable, without its password", async () => {
    const url = `postgres://someone:a-secret-password@127.0.0.1:${await freePort()}/latchkey`;
    const said = await migrate(url, "status");
    expect(said).toMatchObject({ code: 1, stdout: "" });
    expect(said.stderr).toMatch(/\nlatchkey: the database did not answer for 10 s \(ECONNREFUSED\); is it running/);
    expect(said.stderr).not.toContain("a-secret-password");
  });
});
