/** A DATABASE_URL with a database that does not exist: the service says so, and never creates it. Real processes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { type PgbouncerServer, startPgbouncer } from "../support/pgbouncer-server.ts";
import { runCli } from "../support/run-cli.ts";
import { canStart } from "../support/shared-servers.ts";
import { serviceEnvironment, spawnService } from "../support/spawned-service.ts";

const MISSING = "misspelt";
const hasAll = canStart("postgres") && canStart("pgbouncer");

describe.skipIf(!hasAll)("a database that does not exist", () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql("alter system set log_statement = 'all'");
    await postgres.sql("select pg_reload_conf()");
  });
  afterAll(() => postgres?.stop());
  let pooler: PgbouncerServer | undefined;
  afterEach(() => pooler?.stop());

  const serverLog = async () =>
    readFileSync(join(await postgres.sql("show data_directory"), "..", "postgres.log"), "utf8");

  describe.each(["direct", "behind pgbouncer"])("%s", (way) => {
    // Each test has a pooler of its own: for 15 s after a refusal a pooler lets clients wait and asks no server.
    const settings = async () => {
      const { username, password, href } = new URL(postgres.url(MISSING));
      pooler = await startPgbouncer(postgres.port, { mode: "transaction", users: { [username]: password } });
      const DATABASE_URL = way === "direct" ? href : pooler.url(href);
      return serviceEnvironment({ DATABASE_URL }) as Record<string, string>;
    };

    it("stops the service at once with one line", async () => {
      for (const workers of ["1", "2"]) {
        await using service = spawnService({
          ...(await settings()),
          LATCHKEY_WORKERS: workers,
          REDIS_URL: "redis://127.0.0.1:1",
        });
        expect(await service.ended()).toBe(1);
        const errors = service.output().match(/.*"level":50.*/g)!;
        expect(errors.length).toBeLessThanOrEqual(Number(workers));
        for (const line of errors)
          expect(JSON.parse(line).reason).toMatch(/^DATABASE_URL: 3D000 .*no such database; create/);
        expect(service.output()).not.toContain("trying again");
      }
    });

    it.each(["bootstrap", "master-keys"])("stops npm run %s at once with one line", async (command) => {
      const said = await runCli(command, await settings());
      expect(said).toMatchObject({ code: 1, stdout: "" });
      expect(said.stderr).toMatch(
        /^latchkey: DATABASE_URL: 3D000 invalid_catalog_name: there is no such database; .*\n$/,
      );
    });

    it("is not created by any command", async () => {
      const [before, { length }] = [await serverLog(), ["start", "bootstrap", "master-keys"]];
      // The control: the server logs every statement, and logged a connection of each of them.
      const refusals = before.match(new RegExp(`FATAL: .*database "${MISSING}" does not exist`, "g"));
      expect(refusals?.length ?? 0).toBeGreaterThanOrEqual(way === "direct" ? length : 1);
      await postgres.sql("select 'create' || ' database' as control");
      expect(await serverLog()).toContain("as control");
      expect(before).not.toMatch(/create\s+database/i);
      expect(await postgres.sql(`select count(*) from pg_database where datname = '${MISSING}'`)).toBe("0");
    });
  });
});
