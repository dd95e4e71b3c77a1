/** Indexes on large tables: built beside writers, and built again after an interruption. */
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import { ConcurrentIndex } from "../../src/postgres/migrations/built-concurrently.ts";
import { migrationScript } from "../../src/postgres/migrations/migration-script.ts";
import { MIGRATIONS } from "../../src/postgres/migrations/migrations.ts";
import { freshUrl, postgresTarget } from "../support/database.ts";
import { restoreDatabase, sql } from "../support/own-postgres.ts";
import { startPgbouncer } from "../support/pgbouncer-server.ts";
import { canStart } from "../support/shared-servers.ts";
import { until } from "../support/until.ts";

class AuditByKind extends ConcurrentIndex {
  override name = "9000-audit-by-kind";
  override readonly index = { name: "audit_events_by_kind", table: "audit_events", on: "(kind)" };
}
const migrations = [...MIGRATIONS, AuditByKind];

/** More than the 8 MiB up to which a table counts as small. */
const FILL = `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
  select 'evt_' || n, now(), 'key.issued', 'actor', 'subject', '', jsonb_build_object('text', repeat('x', 300))
  from generate_series(1, 30000) n`;
const ONE = `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
  values ('evt_' || gen_random_uuid(), now(), 'key.issued', 'actor', 'subject', '', '{}')`;
const IS_VALID = "select indisvalid from pg_index where indexrelid = to_regclass('audit_events_by_kind')";
const NOTED = "select count(*) from mikro_orm_migrations where name = '9000-audit-by-kind'";
const BUILDING = `select pid from pg_stat_activity where datname = current_database()
  and query like 'create index concurrently%' and wait_event_type = 'Lock'`;
const HOLDING =
  "select pid from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())";

describe.skipIf(!canStart("postgres"))("an index that a migration adds", () => {
  let url: string;
  let databases: Database[];
  let writer: pg.Client;
  beforeEach(async () => {
    url = await freshUrl();
    databases = await Promise.all([open(url), open(url)]);
    writer = new pg.Client({ connectionString: url });
    writer.on("error", () => {});
    await writer.connect();
  });
  afterEach(async () => {
    await writer.end();
    await Promise.all(databases.map((database) => database.close()));
  });

  const open = (at: string) => Database.open({ target: postgresTarget(at, 2) });
  const plan = async () => (await databases[0]!.planMigrations(migrations))[0];

  it("to a small table is built in the transaction of the migration", async () => {
    expect(await plan()).toMatchObject({ before: [] });
    await databases[0]!.migrate({ migrations });
    expect(await sql(url, IS_VALID)).toBe("t");
    expect(await plan()).toBeUndefined();
  });

  it("to a large table is built once by two processes, and keeps no writer out", async () => {
    await sql(url, FILL);
    expect((await plan())!.before).toEqual([
      'create index concurrently if not exists audit_events_by_kind on "public".audit_events (kind)',
    ]);
    await writer.query("begin");
    await writer.query(ONE);
    const applied: string[] = [];
    const onApplied = (name: string) => applied.push(name);
    const both = Promise.all(databases.map((database) => database.migrate({ migrations, onApplied })));
    await until(async () => (await sql(url, BUILDING)) !== "", "the build waits for the older transaction");
    // The control: the build is under way, the lock of migrations is held, and others write.
    expect(await sql(url, HOLDING)).not.toBe("");
    await sql(url, ONE);
    expect(await sql(url, NOTED)).toBe("0");
    await writer.query("commit");
    await both;
    expect(applied).toEqual(["9000-audit-by-kind"]);
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["t", "1"]);
  });

  it.each([
    ["the build", BUILDING],
    ["the lock of migrations", HOLDING],
  ])("is built again from the start after the connection of %s was lost", async (_what, pid) => {
    await sql(url, FILL);
    await writer.query("begin");
    await writer.query(ONE);
    const failed = databases[0]!.migrate({ migrations }).catch((error: unknown) => error);
    await until(async () => (await sql(url, BUILDING)) !== "", "the build waits for the older transaction");
    await sql(url, `select pg_terminate_backend(pid) from (${pid}) as found`);
    expect(await failed).toBeInstanceOf(Error);
    await until(async () => (await sql(url, BUILDING)) === "", "the build has ended");
    await writer.query("commit");
    // The fault happened: an invalid index is left, and the migration is not noted.
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["f", "0"]);
    expect((await plan())!.before[0]).toBe('drop index concurrently if exists "public".audit_events_by_kind');
    await databases[1]!.migrate({ migrations });
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["t", "1"]);
  });

  it("is built again, if the build of a process that has ended began first and left an invalid index", async () => {
    await sql(url, FILL);
    const [orphan, older] = [new pg.Client({ connectionString: url }), new pg.Client({ connectionString: url })];
    orphan.on("error", () => {});
    await Promise.all([orphan.connect(), older.connect()]);
    // Both builds wait for the table, so neither has made its index when the other one is planned.
    await writer.query("begin");
    await writer.query("lock table audit_events in share update exclusive mode");
    await older.query("begin");
    await older.query(ONE);
    const lost = orphan.query("create index concurrently audit_events_by_kind on audit_events (kind)").catch(String);
    await until(async () => (await sql(url, BUILDING)) !== "", "the other build waits for the table");
    const migrated = databases[0]!.migrate({ migrations }).then(() => "migrated", String);
    await until(async () => (await sql(url, BUILDING)).includes("\n"), "both builds wait for the table");
    await writer.query("commit");
    await until(async () => (await sql(url, IS_VALID)) === "f", "the other build has made an invalid index");
    await sql(url, `select pg_terminate_backend(${(orphan as unknown as { processID: number }).processID})`);
    expect(await lost).toMatch(/terminat/);
    await older.query("commit");
    expect(await migrated).toBe("migrated");
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["t", "1"]);
    await older.end();
  });

  it("is not noted by a script whose build was interrupted, and a later script builds it again", async () => {
    await sql(url, FILL);
    const script = async () => migrationScript(await databases[0]!.planMigrations(migrations), databases[0]!.target);
    const first = await script();
    // A build that fails leaves an invalid index of that name.
    const failing = sql(url, "create unique index concurrently audit_events_by_kind on audit_events (kind)");
    await expect(failing).rejects.toThrow(/could not create unique index/);
    await expect(restoreDatabase(url, first)).rejects.toThrow(
      /the index audit_events_by_kind is invalid or missing.*HINT: .*make another script with --dry-run/s,
    );
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["f", "0"]);
    await restoreDatabase(url, await script());
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["t", "1"]);
  });

  it.skipIf(!canStart("pgbouncer"))("to a large table is built behind a pooler of transactions", async () => {
    await sql(url, FILL);
    const { username, password, port } = new URL(url);
    const pooler = await startPgbouncer(Number(port), { mode: "transaction", users: { [username]: password } });
    const pooled = await open(pooler.url(url));
    await pooled.migrate({ migrations });
    expect([await sql(url, IS_VALID), await sql(url, NOTED)]).toEqual(["t", "1"]);
    await pooled.close();
    await pooler.stop();
  });
});
