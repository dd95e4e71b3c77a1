/** Starts while servers are unreachable or slow, and at the same time as other starts. Real processes. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { childrenOf, freePort, isDead, procStat } from "../support/child-process.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { startPostgres } from "../support/own-postgres.ts";
import { redisCommand, startRedis } from "../support/own-redis.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart, freshPostgres } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  castAt,
  serviceEnvironment,
  spawnService,
  startService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

/** The time for which a start waits for an unreachable database. */
const WAIT_MS = 60_000;
const ROOM_MS = 5000;
/** Longer than the service's own statement_timeout (1 s) and its limit of silence (1.5 s). */
const SLOW_MS = 2500;
/** The lock that every migrating process holds (src/postgres/migrations/migration-lock.ts). */
const MIGRATION_LOCK = "7809632594316157049";

/** A log line of the service. */
interface Line {
  readonly level: number;
  readonly time: string;
  readonly msg: string;
  readonly reason?: string;
}
const ERROR = 50;

interface HolderLine extends Line {
  readonly holder_pid: number;
}

/** The log lines of a process about another process that holds the lock of migrations. */
const holderLines = (output: string) =>
  linesOf(output).filter(({ msg }) => msg.includes("holds the lock of migrations")) as HolderLine[];

/** Several workers need a Redis for their limits. An unreachable Redis stops no start. */
const severalWorkers = (workers: number) => ({ LATCHKEY_WORKERS: `${workers}`, REDIS_URL: "redis://127.0.0.1:1" });

const linesOf = (output: string): readonly Line[] =>
  output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);

// The tests run at the same time, because some wait for a minute.
describe.skipIf(!canStart("postgres") || !canStart("redis"))("a process that starts", () => {
  it.concurrent.each<[fault: "down" | "frozen", workers: number]>([
    ["down", 1],
    ["down", 2],
    ["frozen", 1],
    ["frozen", 2],
  ])(
    "with PostgreSQL %s tries for 60 s (%i workers), then exits with a failure and one line per process with the reason",
    async (fault, workers) => {
      await using postgres = await startPostgres();
      if (fault === "down") {
        await postgres.kill();
        await expect(postgres.sql("select 1")).rejects.toThrow("Connection refused");
      } else {
        await postgres.freeze();
        expect(procStat(postgres.pid)?.state).toBe("T");
      }
      const env = serviceEnvironment({ DATABASE_URL: postgres.url(), ...severalWorkers(workers) });
      await using service = spawnService(env);
      expect(await service.ended()).toBe(1);
      postgres.resume();
      const lines = linesOf(service.output());
      const tries = lines.filter(({ msg }) => msg.includes("trying again"));
      const triedMs = Date.parse(lines.at(-1)!.time) - Date.parse(tries[0]!.time);
      expect(triedMs).toBeGreaterThan(WAIT_MS - ROOM_MS);
      expect(triedMs).toBeLessThan(WAIT_MS + ROOM_MS);
      expect(tries.length, "it did try").toBeGreaterThan(10);
      const errors = lines.filter(({ level }) => level >= ERROR);
      expect(errors.length).toBeGreaterThan(0);
      expect(errors.length).toBeLessThanOrEqual(workers);
      for (const error of errors) {
        expect(error).toMatchObject({
          msg: "the service could not start",
          reason: expect.stringContaining("database"),
        });
      }
      expect(lines.at(-1)).toEqual(errors.at(-1));
      expect(service.output(), "no stack of its own").not.toContain("\n    at ");
      expect(service.output(), "no password").not.toContain(new URL(postgres.url()).password);
    },
  );

  it.concurrent("with two workers and other master keys than the database's exits with a failure at once", async () => {
    await using postgres = await startPostgres();
    const env = serviceEnvironment({ DATABASE_URL: postgres.url(), ...severalWorkers(2) });
    await bootstrapOperator(env);
    const { LATCHKEY_MASTER_KEYS } = serviceEnvironment({});
    await using service = spawnService({ ...env, LATCHKEY_MASTER_KEYS });
    expect(await service.ended()).toBe(1);
    const lines = linesOf(service.output()).filter(({ msg }) => !msg.startsWith("development only: "));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.map(({ msg }) => msg)).toEqual(lines.map(() => "the service could not start"));
    expect(lines[0]!.reason).toContain("LATCHKEY_MASTER_KEYS");
    // The control: with the database's master keys the same service starts.
    await using other = await startService(env);
    expect(other.address).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it.concurrent.each<[signal: NodeJS.Signals, code: number, workers: number]>([
    ["SIGTERM", 143, 1],
    ["SIGINT", 130, 1],
    ["SIGTERM", 143, 2],
  ])("and waits for PostgreSQL ends at %s with %i (%i workers)", async (signal, code, workers) => {
    await using postgres = await startPostgres();
    await postgres.freeze();
    const env = serviceEnvironment({ DATABASE_URL: postgres.url(), ...severalWorkers(workers) });
    await using service = spawnService(env);
    // The control: the process is waiting, and so ends for no other reason.
    await until(async () => service.output().includes("unreachable; trying again"), "it waits");
    const started = workers === 1 ? [] : childrenOf(service.pid);
    expect(started).toHaveLength(workers === 1 ? 0 : workers);
    const signalledAtMs = performance.now();
    service.signal(signal);
    // It exits with a code itself, because a signal does not kill the first process of a container.
    expect(await service.ended()).toBe(code);
    expect(performance.now() - signalledAtMs).toBeLessThan(1000);
    await until(async () => started.every(isDead), "its workers are gone");
    postgres.resume();
  });

  it.concurrent.each(["LATCHKEY_LISTEN", "LATCHKEY_OPS_LISTEN"])(
    "on a port that is taken (%s) fails at once with one line that names it, before it connects to PostgreSQL",
    async (setting) => {
      await using postgres = await startPostgres();
      // The control: without the address it would wait for the database.
      await postgres.kill();
      const holder = createServer();
      const port = await freePort();
      await new Promise<void>((resolve) => holder.listen(port, "127.0.0.1", resolve));
      const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
      for (const workers of [1, 2]) {
        await using service = spawnService({ ...env, ...severalWorkers(workers), [setting]: `127.0.0.1:${port}` });
        expect(await service.ended()).toBe(1);
        expect(linesOf(service.output()).filter(({ level }) => level >= ERROR)).toMatchObject([
          { msg: "the service could not start", reason: `${setting}: 127.0.0.1:${port} is taken by another process` },
        ]);
        expect(service.output()).not.toContain("trying again");
      }
      await new Promise((resolve) => holder.close(resolve));
    },
  );

  it.concurrent("before PostgreSQL is up becomes ready as soon as PostgreSQL is up", async () => {
    await using postgres = await startPostgres();
    await postgres.kill();
    await using service = spawnService(serviceEnvironment({ DATABASE_URL: postgres.url() }));
    // The fault happened: the process has tried, and the server was unreachable.
    await until(async () => service.output().includes("unreachable; trying again"), "it has tried in vain");
    await postgres.restart();
    expect(await service.ready()).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it.concurrent("without Redis is ready, judges limits alone and says so, and counts in Redis once Redis is up", async () => {
    await using redis = await startRedis();
    await redis.kill();
    await expect(redisCommand(redis.port, "PING")).rejects.toThrow("ECONNREFUSED");
    await using fleet = await startFleet({ DATABASE_URL: await freshPostgres(), REDIS_URL: redis.url });
    const { service } = fleet;
    const cast = await fleet.cast();
    const [key] = await cast.issue(1);
    const client = clientOf(service.address, KeyService, cast.verifier);
    const ask = () => answerTo(() => client.verifyKey({ apiKey: key!.raw }));
    expect(await ask()).toMatchObject({ said: "VALID", response: { degraded: true } });
    await redis.restart();
    // The control: with Redis the same call is not degraded, and its windows are there.
    await until(async () => (await ask()).response?.degraded === false, "Redis decides");
    expect(Number(await redisCommand(redis.port, "DBSIZE"))).toBeGreaterThan(0);
  });

  it.concurrent("on a schema with additions of a later version serves, and keeps that version's data", async () => {
    await using postgres = await startPostgres();
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    const admin = await bootstrapOperator(env);
    await using before = await startService(env);
    const cast = await castAt(before.address, admin);
    const [key] = await cast.issue(1);
    // A later version adds columns, a table and a migration while this version serves.
    await postgres.sql("alter table api_keys add column later text not null default 'x'");
    await postgres.sql("alter table users add column later int");
    await postgres.sql("alter table sessions add column later int; create table later (id text)");
    await postgres.sql("insert into mikro_orm_migrations (name, executed_at) values ('9999-later', now())");
    await using after = await startService(env);
    expect(await postgres.sql("select count(*) from mikro_orm_migrations where name = '9999-later'")).toBe("1");
    for (const { address } of [before, after]) {
      const client = clientOf(address, KeyService, cast.verifier);
      const management = clientOf(address, KeyService, cast.ownerToken);
      expect(await answerTo(() => client.verifyKey({ apiKey: key!.raw }))).toMatchObject({ said: "VALID" });
      const issued = await management.issueKey({ name: "beside" });
      await postgres.sql(`update api_keys set later = 'kept' where id = '${issued.key!.id}'`);
      expect(await answerTo(() => client.verifyKey({ apiKey: issued.apiKey }))).toMatchObject({ said: "VALID" });
      await management.updateKey({ key: { id: issued.key!.id, name: "changed" }, updateMask: { paths: ["name"] } });
      await management.revokeKey({ keyId: issued.key!.id });
    }
    // The data of the later version are still there.
    expect(await postgres.sql("select count(*) from api_keys where later = 'kept' and name = 'changed'")).toBe("2");
  });

  it.concurrent("at the same time as two others applies the schema only once among the three", async () => {
    await using postgres = await startPostgres();
    await postgres.sql("alter system set log_line_prefix = '%a|'");
    await postgres.sql("alter system set log_statement = 'ddl'");
    await postgres.sql("select pg_reload_conf()");
    const database = new pg.Client({ connectionString: postgres.url(), application_name: "test" });
    database.on("error", () => {});
    await database.connect();
    await database.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]);
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    const services = [spawnService(env), spawnService(env), spawnService(env)];
    // The fault happened: all three find an empty database and wait to migrate. The test holds the lock for its
    // session, as earlier versions did.
    const told = () => services.map((service) => holderLines(service.output()));
    await until(async () => told().every((lines) => lines.length > 0), "all three wait for the lock");
    for (const [line] of told()) {
      expect(line).toMatchObject({
        application: "test",
        client: "127.0.0.1",
        since: expect.stringMatching(/^2\d{3}-/),
      });
      expect(line!.holder_pid).toBe((database as unknown as { processID: number }).processID);
    }
    expect(await postgres.sql("select to_regclass('api_keys') is null")).toBe("t");
    await database.query("select pg_advisory_unlock($1)", [MIGRATION_LOCK]);
    await Promise.all(services.map((service) => service.ready()));

    const names = (await database.query("select name from mikro_orm_migrations order by id")).rows.map(
      ({ name }) => name,
    );
    expect(names.length).toBeGreaterThan(0);
    expect(new Set(names).size).toBe(names.length);
    const log = readFileSync(join(await postgres.sql("show data_directory"), "..", "postgres.log"), "utf8");
    expect(log.match(/\|LOG: .*create table api_keys \(/g), "attempts").toHaveLength(1);
    // The control: of three clients that do not wait for each other only one succeeds.
    const racing = Array.from({ length: 3 }, () => postgres.sql("create table api_keys_too (id text)"));
    const failed = (await Promise.allSettled(racing)).filter(({ status }) => status === "rejected");
    expect(failed).toHaveLength(2);
    await database.end();
    await Promise.all(services.map((service) => service.stop()));
  });

  it.concurrent("while another process holds the lock of migrations gives up after 60 s, and logs meanwhile which process holds it", async () => {
    await using postgres = await startPostgres();
    const holder = new pg.Client({ connectionString: postgres.url(), application_name: "holder" });
    holder.on("error", () => {});
    await holder.connect();
    await holder.query("begin");
    await holder.query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    await using service = spawnService(env);
    const bootstrap = runCli("bootstrap", env as Record<string, string>);
    expect(await service.ended()).toBe(1);
    const pid = (holder as unknown as { processID: number }).processID;
    const held = new RegExp(`another process held the lock of migrations for 60 s \\(pid ${pid}, application holder,`);
    const lines = linesOf(service.output());
    expect(lines.at(-1)).toMatchObject({ level: ERROR, reason: expect.stringMatching(held) });
    expect(holderLines(service.output()).length, "it said so every 5 s").toBeGreaterThan(8);
    const waitedMs = Date.parse(lines.at(-1)!.time) - Date.parse(holderLines(service.output())[0]!.time);
    expect(Math.abs(waitedMs - WAIT_MS)).toBeLessThan(ROOM_MS);
    const said = await bootstrap;
    expect(said).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(held) });
    expect(said.stderr).toContain("another process holds the lock of migrations; trying again");
    expect(await postgres.sql("select to_regclass('api_keys') is null")).toBe("t");
    await holder.end();
  });

  it.concurrent("after a migrator was killed within a statement is ready within seconds", async () => {
    await using postgres = await startPostgres();
    await postgres.sql(`
      create sequence slow_steps;
      create function slow() returns event_trigger language plpgsql as $$
        begin
          if nextval('slow_steps') = 3 then perform pg_sleep(120); end if;
        end $$;
      create event trigger slow on ddl_command_start execute function slow()`);
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    await using killed = spawnService(env);
    const sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    await until(async () => (await postgres.sql(sleeping)) === "1", "it is in the midst of a migration");
    await using next = spawnService(env);
    await until(async () => holderLines(next.output()).length > 0, "the next one waits");
    killed.signal("SIGKILL");
    await next.ready();
    // The work of the killed migrator is undone as a whole, and the next process has applied everything.
    expect(await postgres.sql("select count(*) from mikro_orm_migrations where name = '0001-first-schema'")).toBe("1");
  });

  it.concurrent("on a database whose preparation takes seconds is ready after it, without a failed try", async () => {
    await using postgres = await startPostgres();
    // The third statement is as slow as an index over a large table. The first statement is the migrator's own.
    await postgres.sql(`
      create sequence slow_steps;
      create function slow() returns event_trigger language plpgsql as $$
        begin
          if nextval('slow_steps') = 3 then perform pg_sleep(${SLOW_MS / 1000}); end if;
        end $$;
      create event trigger slow on ddl_command_start execute function slow()`);
    const startedAtMs = performance.now();
    await using service = spawnService(serviceEnvironment({ DATABASE_URL: postgres.url() }));
    await service.ready();
    // The fault happened: one statement took longer than the service allows its own.
    expect(Number(await postgres.sql("select last_value from slow_steps"))).toBeGreaterThan(3);
    expect(performance.now() - startedAtMs).toBeGreaterThan(SLOW_MS);
    expect(service.output()).not.toContain("trying again");
  });

  it.concurrent("on a database whose table is locked tries again until it is free", async () => {
    await using postgres = await startPostgres();
    const env = serviceEnvironment({ DATABASE_URL: postgres.url() });
    await bootstrapOperator(env);
    const other = new pg.Client({ connectionString: postgres.url() });
    other.on("error", () => {});
    await other.connect();
    await other.query("begin");
    await other.query("lock table master_key_checks in access exclusive mode");
    await using service = spawnService(env);
    const tries = () => linesOf(service.output()).filter(({ msg }) => msg.includes("trying again"));
    // The fault happened twice, on an open connection: a statement waited for the lock, at most a second.
    await until(async () => tries().length >= 2, "it has tried in vain");
    expect(tries()[0]).toMatchObject({ code: "55P03" });
    await other.query("rollback");
    expect(await service.ready()).toMatch(/^127\.0\.0\.1:\d+$/);
    await other.end();
  });
});
