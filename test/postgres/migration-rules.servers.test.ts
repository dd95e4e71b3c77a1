/** Rules that every migration keeps, so that a migration holds up no call: see "Changing the schema" in CONTRIBUTING. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import { MIGRATIONS } from "../../src/postgres/migrations/migrations.ts";
import { type MigrationClass, namesOf } from "../../src/postgres/migrations/planned-migration.ts";
import { postgresTarget } from "../support/database.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";
import { lockFindings, ROWS } from "./migration-locks.ts";
import { faultsOf } from "./migration-statements.ts";

const NAMES = namesOf(MIGRATIONS);

/** Migrations from before the rules. Each key is a name, each value what the two judges say about it. */
const BASELINE: Readonly<Record<string, { readonly text: number; readonly locks: readonly RegExp[] }>> = {
  "0001-first-schema": { text: 0, locks: [] },
  "0002-login-throttles": { text: 0, locks: [] },
  "0003-audit-events": { text: 0, locks: [] },
  "0004-master-key-versions": { text: 1, locks: [/^create index key_secrets_by_pepper.*reads key_secrets/] },
  "0005-session-ends": { text: 1, locks: [/^create index sessions_by_end.*reads sessions/] },
  "0006-tiers-in-use": {
    text: 2,
    locks: [/^create index users_by_tier.*reads users/, /^create index api_keys_by_tier.*reads api_keys/],
  },
  "0007-login-hashes": { text: 0, locks: [] },
  "0008-change-incarnation": { text: 0, locks: [] },
  // It changes only addresses that are not in NFC, and the rows of this test are.
  "0009-emails-in-nfc": { text: 0, locks: [] },
  "0010-texts-that-say-null": { text: 4, locks: [] },
  "0013-key-revocation-by-reset": { text: 0, locks: [] },
};

/** Rows for each table that grows, with the columns of the migration that made it. */
const FILL: Readonly<Record<string, string>> = {
  users: `(id, email, email_normalized, display_name, tier, scopes, state, password_version, created_at)
    select 'usr_' || n, n || '@x', n || '@x', '', 'basic', '{}', 'active', 0, now()`,
  api_keys: `(id, kind, environment, name, description, prefix, issuer_id, tier, scopes, metadata, allowed_ips,
      allowed_methods, state, service_controlled, created_at, version)
    select 'key_' || n, 'service', 'live', '', '', '', '', 'basic', '{}', '{}', '{}', '{}', 'active', false, now(), 1`,
  key_secrets: `(digest, key_id, pepper_version, created_at)
    select sha256(n::text::bytea), 'key_' || n, 1, now()`,
  key_requests: `(caller_id, request_id, parameters_digest, key_id, created_at)
    select 'usr_' || n, gen_random_uuid(), '', 'key_' || n, now()`,
  sessions: `(id, user_id, seed, ring_version, generation, password_version, created_at, refreshed_at, idle_expires_at,
      expires_at, user_agent, client_ip)
    select 'ses_' || n, 'usr_' || n, sha256(n::text::bytea), 1, 0, 0, now(), now(), now(), now(), '', ''`,
  password_resets: `(token_digest, user_id, created_at, expires_at) select sha256(n::text::bytea), 'usr_' || n, now(), now()`,
  changes: "(kind, subject_id) select 'key', 'key_' || n",
  audit_events: `(id, happened_at, kind, actor_id, subject_id, client_ip, details)
    select 'evt_' || n, now(), 'session.begun', 'usr_' || n % 1500, 'ses_' || n, '127.0.0.1', '{}'`,
  login_accounts: "(account_digest, failures, failed_at) select sha256(n::text::bytea), 1, now()",
  login_networks: "(account_digest, network, failures, forget_at) select sha256(n::text::bytea), '', 0, now()",
  login_addresses: "(address, failed_at, forget_at) select n::text, '{}', now()",
  known_logins: "(user_id, known_login_at) select 'usr_later_' || n, now()",
};

describe("the text of a migration", () => {
  it.each(MIGRATIONS.map((each) => [namesOf([each])[0]!, each] as const))("%s keeps the rules", (name, migration) => {
    expect(faultsOf(name, statementsOf(migration))).toHaveLength(BASELINE[name]?.text ?? 0);
  });

  it.each([
    ["alter table users add column note text"],
    ["alter table users add column note text not null default ''"],
    ["alter table users add constraint short check (length(note) < 9) not valid", "0020-short-needs-0019"],
    ["alter table users validate constraint short"],
    ["alter table users alter column note set not null", "0021-notes-needs-0019"],
    ["alter table users drop column note", "0020-drop-note-needs-0019"],
    ["create table later (id text primary key, user_id text not null references users)"],
  ])("may say: %s", (statement, name = "0020-more") => {
    expect(faultsOf(name, [statement])).toEqual([]);
  });

  it.each([
    ["create index users_by_note on users (note)", "ConcurrentIndex"],
    ["create index concurrently users_by_note on users (note)", "ConcurrentIndex"],
    ["lock table users", "whole table"],
    ["alter table users add constraint short check (length(note) < 9)", "NOT VALID"],
    ["alter table users add column friend text references users", "NOT VALID"],
    ["alter table users add constraint one unique (note)", "USING INDEX"],
    ["alter table users add column at timestamptz default clock_timestamp()", "batches"],
    ["alter table users add column n bigserial", "batches"],
    ["alter table users add column twice int generated always as (password_version * 2) stored", "batches"],
    ["update users set display_name = ''", "batches"],
    ["alter table users drop column display_name", "may use"],
    ["drop table known_logins", "may use"],
    ["alter table users rename column display_name to name", "may use"],
    ["alter table users alter column password_version type bigint", "reads"],
    ["alter table users add column note text not null", "older version"],
    ["alter table users alter column password_hash set not null", "older rows"],
  ])("may not say: %s", (statement, instead) => {
    expect(faultsOf("0020-more", [statement]).join()).toContain(instead);
  });
});

describe.skipIf(!canStart("postgres"))("the locks of a migration", () => {
  let database: Database;
  let client: pg.Client;
  beforeAll(async () => {
    const url = await freshPostgres();
    database = await Database.open({ target: postgresTarget(url, 2) });
    client = new pg.Client({ connectionString: url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await database?.close();
  });

  const fill = async () => {
    const { rows } = await client.query(
      "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
    );
    for (const [table, columns] of Object.entries(FILL)) {
      if (!rows.some(({ relname }) => relname === table)) continue;
      const { rows: some } = await client.query(`select from ${table} limit 1`);
      if (some.length === 0) await client.query(`insert into ${table} ${columns} from generate_series(1, ${ROWS}) n`);
    }
  };

  it("are held for no time that grows with a table, except in those from before the rules", async () => {
    for (const [n, name] of NAMES.entries()) {
      const [plan] = await database.planMigrations(MIGRATIONS.slice(0, n + 1));
      expect(plan!.name).toBe(name);
      const found = await lockFindings(client, plan!.inTransaction, "commit");
      const expected = (BASELINE[name]?.locks ?? []).map((text) => expect.stringMatching(text));
      // Of a ConcurrentIndex only the form for a table up to 8 MiB runs here: built-concurrently.servers.test.ts.
      if (statementsOf(MIGRATIONS[n]!).length > 0) expect(found, name).toEqual(expected);
      await fill();
    }
    expect((await database.schema()).pending).toEqual([]);
  });

  // The controls: each way to hold a lock for long is found, on the rows that the test before has left.
  it.each([
    ["builds an index", "create index on users (tier)", "users (ShareLock)"],
    [
      "adds a column with a computed default",
      "alter table users add column at timestamptz default clock_timestamp()",
      "rewrites users",
    ],
    ["changes a type", "alter table users alter column password_version type bigint", "rewrites users"],
    [
      "refuses nulls after a scan",
      "alter table users alter column email set not null, alter column password_hash set default '', add check (tier is not null)",
      "reads users",
    ],
    ["checks every row", "alter table users add constraint short check (length(tier) < 99)", "reads users"],
    [
      "checks every reference",
      "alter table sessions add constraint known foreign key (user_id) references users",
      "sessions",
    ],
    ["adds a unique index", "alter table users add constraint one unique (display_name, id)", "reads users"],
    [
      "adds a generated column",
      "alter table users add column twice int generated always as (password_version * 2) stored",
      "rewrites users",
    ],
    ["changes many rows", "update users set display_name = 'x'", "locks 2000 rows of users"],
    ["deletes many rows", "delete from key_requests", "locks 2000 rows of key_requests"],
    [
      "reads a table after it locked another one",
      "alter table users add column note text; select count(*) from sessions",
      "reads sessions",
    ],
    ["locks a table without rows", "alter table signing_keys add column note text", "add it to FILL"],
  ])("are found if a migration %s", async (_what, statements, finding) => {
    expect((await lockFindings(client, statements.split("; "), "rollback")).join()).toContain(finding);
  });

  it.each([
    ["adds a column with a constant default", "alter table users add column note text not null default ''"],
    [
      "adds a check that is not valid yet",
      "alter table users add constraint short check (length(tier) < 99) not valid",
    ],
    ["makes a table with an index", "create table later (id text primary key); create index on later (id)"],
    ["drops a column", "alter table users drop column display_name"],
    ["reads a table and locks none", "create table later as select id from users"],
  ])("are not found if a migration %s", async (_what, statements) => {
    expect(await lockFindings(client, statements.split("; "), "rollback")).toEqual([]);
  });

  it("are not found if a check is validated in a later migration", async () => {
    await client.query("alter table users add constraint short check (length(tier) < 99) not valid");
    expect(await lockFindings(client, ["alter table users validate constraint short"], "commit")).toEqual([]);
    const { rows } = await client.query("select convalidated from pg_constraint where conname = 'short'");
    expect(rows).toEqual([{ convalidated: true }]);
  });
});

function statementsOf(migration: MigrationClass): readonly string[] {
  const made = new migration(undefined as never, undefined as never);
  void made.up();
  return made.isTransactional() ? made.getQueries().map(String) : [];
}
