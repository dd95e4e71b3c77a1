/** All connections of a process follow DATABASE_URL alone, whatever the environment of the machine. */
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import { PostgresChangeStore } from "../../src/postgres/stores/change-store.ts";
import { postgresTarget, TESTER } from "../support/database.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { canStart } from "../support/shared-servers.ts";
import { ROLE_PASSWORD, startTlsPostgres, type TlsPostgres } from "../support/tls-postgres.ts";

describe.skipIf(!canStart("postgres"))("all connections of a process", { timeout: 60_000 }, () => {
  let postgres: TlsPostgres;
  let database: string;
  beforeAll(async () => {
    postgres = await startTlsPostgres();
    database = `db_${randomBytes(4).toString("hex")}`;
    await postgres.server.sql(`create database ${database} owner any_role`);
    await postgres.server.sql("create schema app authorization any_role", database);
  }, 120_000);
  afterAll(() => postgres?.[Symbol.asyncDispose]());
  afterEach(() => vi.unstubAllEnvs());

  const url = (query: string, host?: string) => postgres.url("any_role", query, { database, ...(host && { host }) });

  /** Opens a connection of each kind, and returns for each `name TLS address`. */
  async function comings(at: string): Promise<readonly string[]> {
    const target = postgresTarget(at);
    const opened = await Database.open({ target });
    const preparing = await Database.open({ target: { ...target, purpose: "migrations" } });
    const changes = new PostgresChangeStore(opened.for(TESTER), target.connection);
    const stop = changes.listen(() => {});
    try {
      await preparing.migrate();
      await changes.poll(undefined);
      await opened.hotRead("select 1", []);
      return await preparing.exclusively(async () => {
        const rows = await postgres.server.sql(
          `select distinct application_name || case when ssl then ' TLS ' else ' plaintext ' end
             || coalesce(host(client_addr), 'socket')
           from pg_stat_ssl join pg_stat_activity using (pid) where datname = '${database}' and usename = 'any_role'`,
        );
        return rows.split("\n").sort();
      });
    } finally {
      stop();
      await Promise.all([opened.close(), preparing.close()]);
    }
  }
  const each = (way: string, name = "latchkey") =>
    [name, `${name}-changes`, `${name}-migrations`, `${name}-reads`].map((who) => `${who} ${way}`);
  /** Tables of the service, with the schema and the owner of each. */
  const tables = () =>
    postgres.server.sql(
      "select distinct schemaname || ' ' || tableowner from pg_tables where tablename = 'users'",
      database,
    );

  it.each(["disable", "require"])("use TLS according to sslmode=%s", async (mode) => {
    expect(await comings(url(`sslmode=${mode}`, "127.0.0.1"))).toEqual(
      each(mode === "require" ? "TLS 127.0.0.1" : "plaintext 127.0.0.1"),
    );
  });

  it("use IPv6 if the host is in brackets, and a socket if it is a folder", async () => {
    expect(await comings(url("", "[::1]"))).toEqual(each("TLS ::1"));
    const folder = encodeURIComponent(postgres.server.socketFolder);
    expect(await comings(url("", folder))).toEqual(each("plaintext socket"));
    expect(await comings(url(`host=${folder}`, "db.invalid"))).toEqual(each("plaintext socket"));
  });

  it("show the application name of the URL", async () => {
    expect(await comings(url("application_name=billing&sslmode=disable", "127.0.0.1"))).toEqual(
      each("plaintext 127.0.0.1", "billing"),
    );
  });

  it("use only the schema of search_path", async () => {
    const own = `db_${randomBytes(4).toString("hex")}`;
    await postgres.server.sql(`create database ${own} owner any_role`);
    await postgres.server.sql("create schema app authorization any_role", own);
    await comings(postgres.url("any_role", "options=-c%20search_path%3Dapp", { database: own }));
    const made = "select string_agg(distinct schemaname, ',') from pg_tables where tableowner = 'any_role'";
    expect(await postgres.server.sql(made, own)).toBe("app");
    // The feed and the hot reads use it too: no other schema has the tables.
    const target = postgresTarget(postgres.url("any_role", "options=--search_path%3Dapp", { database: own }));
    const opened = await Database.open({ target });
    try {
      expect(await opened.hotRead("select count(*)::int as n from users", [])).toMatchObject({ rows: [{ n: 0 }] });
    } finally {
      await opened.close();
    }
  });

  it("use nothing from the environment of the process: neither variables of libpq nor of the ORM", async () => {
    const elsewhere = { HOST: "db.invalid", PORT: "1", USER: "nobody", PASSWORD: "wrong" };
    for (const [name, value] of Object.entries({ ...elsewhere, DATABASE: "none", SSLMODE: "disable" })) {
      vi.stubEnv(`PG${name}`, value);
    }
    vi.stubEnv("PGOPTIONS", "-c search_path=nowhere");
    vi.stubEnv("PGAPPNAME", "other");
    vi.stubEnv("PGSSLNEGOTIATION", "direct");
    vi.stubEnv("PGREPLICATION", "database");
    for (const [name, value] of Object.entries({ ...elsewhere, DB_NAME: "none" })) {
      vi.stubEnv(`MIKRO_ORM_${name}`, value);
    }
    vi.stubEnv("MIKRO_ORM_CLIENT_URL", "postgres://nobody@db.invalid/none");
    expect(await comings(url("sslmode=require", "127.0.0.1"))).toEqual(each("TLS 127.0.0.1"));
    expect(await tables()).toBe("public any_role");
  });

  it("have no password if the URL has none, not even that of PGPASSWORD", async () => {
    vi.stubEnv("PGPASSWORD", ROLE_PASSWORD);
    const target = postgresTarget(url("", "127.0.0.1").replace(`:${ROLE_PASSWORD}`, ""));
    await expect(Database.open({ target })).rejects.toMatchObject({ cause: { code: "28P01" } });
  });

  it("never send a password without TLS after it was refused over TLS", async () => {
    await using proxy = await startFaultProxy(postgres.server.port, true);
    const wrong = postgres.url("any_role", "sslmode=prefer", { port: proxy.port }).replace(ROLE_PASSWORD, "canary");
    await expect(Database.open({ target: postgresTarget(wrong) })).rejects.toMatchObject({ cause: { code: "28P01" } });
    const sent = proxy.sent().map((bytes) => bytes.toString("latin1"));
    expect(sent.length).toBeGreaterThan(0);
    for (const bytes of sent) expect(bytes).not.toMatch(/canary|any_role/);
  });
});
