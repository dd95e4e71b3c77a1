/** The service behind pgbouncer as Debian installs it, in each mode that it supports. Real processes. */
import { readFileSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { type PostgresServer, sql, startPostgres } from "../support/own-postgres.ts";
import { type PgbouncerServer, startPgbouncer } from "../support/pgbouncer-server.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  type Cast,
  castAt,
  type IssuedKey,
  type ReadyService,
  serviceEnvironment,
  spawnService,
  startService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const ROLE = "latchkey_service";
/** Maximum delay until a process refuses a revoked key while PostgreSQL answers. */
const SEEN_MS = 5000;
/** statement_timeout of management, and room for a busy machine. */
const STATEMENT_MS = 1000;
const ROOM_MS = 2000;
const DEAF = "the connection pooler delivers no signals";

const hasAll = canStart("postgres") && canStart("pgbouncer");
const cases = (["session", "transaction"] as const).map((mode) => [mode] as const);

describe.skipIf(!hasAll).each(cases)("pgbouncer in %s mode", (mode) => {
  let postgres: PostgresServer;
  let pooler: PgbouncerServer;
  let directUrl: string;
  let env: NodeJS.ProcessEnv;
  let first: ReadyService;
  let direct: ReadyService;
  let cast: Cast;

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql(`create role ${ROLE} login password 'secret'`);
    const database = await postgres.createDatabase("deployed");
    await postgres.sql(`grant create on schema public to ${ROLE}`, "deployed");
    directUrl = withUser(database);
    pooler = await startPgbouncer(postgres.port, {
      mode,
      users: { [ROLE]: "secret" },
      lines: ["default_pool_size = 30"],
    });
    env = serviceEnvironment({ DATABASE_URL: pooler.url(directUrl), LATCHKEY_KEYS_PER_OWNER: "1000" });
    // The first start on an empty database, then a process that connects past the pooler.
    first = await startService(env);
    direct = await startService({ ...env, DATABASE_URL: directUrl });
    const made = await runCli("bootstrap", asSettings(env), "--force");
    expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^kit_svc_/) });
    cast = await castAt(first.address, made.stdout.trim());
  });
  afterAll(async () => {
    await first?.stop();
    await direct?.stop();
    await pooler?.stop();
    await postgres?.stop();
  });

  const askAt = (service: ReadyService, key: IssuedKey) =>
    answerTo(() => clientOf(service.address, KeyService, cast.verifier).verifyKey({ apiKey: key.raw, cost: 0 }));
  const owner = () => clientOf(first.address, KeyService, cast.ownerToken);

  it("lets a first start apply the schema, and keeps no lock of it", async () => {
    expect(await postgres.sql("select count(*) from pg_locks where locktype = 'advisory'")).toBe("0");
    expect(first.output()).not.toMatch(/"level":(40|50).*(PostgreSQL|database|lock)/);
    expect(readFileSync(pooler.logFile, "utf8")).not.toMatch(/unsupported startup parameter|ERROR|WARNING (?!.*auth)/);
    // The control: this pooler refuses what libpq would send.
    const refused = await sql(`${pooler.url(directUrl)}?options=-c%20statement_timeout%3D5`, "select 1").catch(String);
    expect(refused).toContain("unsupported startup parameter");
  });

  it("lets three further starts at once succeed beside the first, and a command answer", async () => {
    const more = await Promise.all([
      startService(env),
      startService(env),
      startService({ ...env, DATABASE_URL: directUrl }),
    ]);
    await Promise.all(more.map((service) => service.stop()));
    const report = await runCli("master-keys", asSettings(env));
    expect(report).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("may be removed") });
    expect(await postgres.sql("select count(*) from pg_locks where locktype = 'advisory'")).toBe("0");
  });

  it("delivers notifications in session mode; in transaction mode polls find changes, and the log says so once", async () => {
    const heard = first.output().split(DEAF).length - 1;
    expect(heard).toBe(mode === "session" ? 0 : 1);
    expect(direct.output()).not.toContain(DEAF);
    const listeners = `select count(*) from pg_stat_activity where application_name = 'latchkey-changes'`;
    expect(Number(await postgres.sql(listeners))).toBeGreaterThan(0);
  });

  it("lets a revocation reach the other process in time, from the direct or from the pooled one", async () => {
    for (const [made, seen] of [
      [first, direct],
      [direct, first],
      [direct, first],
    ] as const) {
      const [key] = (await cast.issue(1)) as [IssuedKey];
      expect((await askAt(seen, key)).said).toBe("VALID");
      await clientOf(made.address, KeyService, cast.ownerToken).revokeKey({ keyId: key.id });
      const revokedAtMs = performance.now();
      await until(async () => (await askAt(seen, key)).said === "REVOKED", "the revocation is seen");
      expect(performance.now() - revokedAtMs).toBeLessThan(SEEN_MS);
    }
  });

  it("undoes a failed transaction as a whole, and keeps its connections", async () => {
    await postgres.sql(
      `create function trouble() returns trigger language plpgsql as $$ begin raise exception 'x' using errcode = '53100'; end $$;
       create trigger trouble before insert on changes for each row execute function trouble()`,
      "deployed",
    );
    const attempts = await Promise.all(
      Array.from({ length: 30 }, (_, n) => errorOf(owner().issueKey({ name: `undone ${n}` }))),
    );
    await postgres.sql("drop function trouble cascade", "deployed");
    expect(attempts.map(({ code }) => code)).toEqual(attempts.map(() => Code.Unavailable));
    expect(first.output()).toContain('"code":"53100"');
    expect(await postgres.sql("select count(*) from api_keys where name like 'undone%'", "deployed")).toBe("0");
    const kept = await Promise.all(Array.from({ length: 30 }, (_, n) => owner().issueKey({ name: `kept ${n}` })));
    expect(await postgres.sql("select count(*) from api_keys where name like 'kept%'", "deployed")).toBe("30");
    expect((await owner().getKey({ keyId: kept[0]!.key!.id })).key?.name).toBe("kept 0");
  });

  it("ends a statement that waits for a lock at its timeout, and leaves none running", async () => {
    const [cold, other] = (await cast.issue(2)) as [IssuedKey, IssuedKey];
    await using locked = await lockTable(postgres.url("deployed"), "api_keys");
    const answers = await Promise.all([
      askAt(first, cold),
      owner().getKey({ keyId: cold.id }, { timeoutMs: 300 }).catch(ConnectError.from),
      owner().getKey({ keyId: other.id }).catch(ConnectError.from),
    ]);
    expect(answers).toMatchObject([
      { said: "Unavailable" },
      { code: Code.DeadlineExceeded },
      // The database answers, and another session holds the lock.
      { code: Code.Aborted },
    ]);
    const waiting = `select count(*) from pg_stat_activity where usename = '${ROLE}' and wait_event_type = 'Lock'`;
    const askedAtMs = performance.now();
    await until(async () => (await postgres.sql(waiting)) === "0", "no statement waits");
    expect(performance.now() - askedAtMs).toBeLessThan(STATEMENT_MS + ROOM_MS);
    await locked.release();
    await expect.poll(async () => (await askAt(first, cold)).said, { timeout: SEEN_MS }).toBe("VALID");
  });

  it("keeps no setting of the service in the pooler's sessions", async () => {
    // Each client has a session of its own, so that the test sees all sessions that the service used.
    const clients = Array.from({ length: 5 }, () => new pg.Client({ connectionString: pooler.url(directUrl) }));
    await Promise.all(clients.map((client) => client.connect()));
    for (const client of clients) await client.query("begin");
    const shown = await Promise.all(
      clients.map(async (client) => {
        const { rows } = await client.query(
          `select current_setting('statement_timeout') as timeout, current_setting('row_security') as row_security,
             current_setting('search_path') as search_path`,
        );
        return rows[0];
      }),
    );
    expect(shown).toEqual(shown.map(() => ({ timeout: "0", row_security: "on", search_path: '"$user", public' })));
    await Promise.all(clients.map((client) => client.end()));
  });
});

describe.skipIf(!hasAll)("pgbouncer", () => {
  it("lets a first start in transaction mode succeed with a single connection, and makes the first operator", async () => {
    await using postgres = await startPostgres();
    const { username, password } = new URL(postgres.url());
    const users = { [username]: password };
    await using pooler = await startPgbouncer(postgres.port, {
      mode: "transaction",
      users,
      lines: ["default_pool_size = 1"],
    });
    const env = serviceEnvironment({ DATABASE_URL: pooler.url(postgres.url()) });
    expect(await bootstrapOperator(env)).toMatch(/^kit_svc_/);
    await using service = await startService(env);
    expect(service.address).toMatch(/^127/);
  });

  it("stops a start in statement mode, which has no transactions, with a line that says so", async () => {
    await using postgres = await startPostgres();
    const { username, password } = new URL(postgres.url());
    await using pooler = await startPgbouncer(postgres.port, { mode: "statement", users: { [username]: password } });
    await using service = spawnService(serviceEnvironment({ DATABASE_URL: pooler.url(postgres.url()) }));
    await until(async () => service.output().includes("a connection pooler refuses"), "it says so");
    expect(service.output()).toContain('"code":"08P01"');
    expect(service.output()).toContain("session or transaction mode");
  });
});

function withUser(url: string): string {
  const own = new URL(url);
  [own.username, own.password] = [ROLE, "secret"];
  return own.href;
}

function asSettings(env: NodeJS.ProcessEnv): Record<string, string> {
  return env as Record<string, string>;
}

async function lockTable(url: string, table: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`begin; lock table ${table} in access exclusive mode`);
  let isHeld = true;
  const release = async () => {
    if (isHeld) await client.end();
    isHeld = false;
  };
  return { release, [Symbol.asyncDispose]: release };
}
