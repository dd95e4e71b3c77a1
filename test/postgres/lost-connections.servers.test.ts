import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, type ManagedDatabase } from "../../src/postgres/database.ts";
import type { Transaction } from "../../src/postgres/transactions/transaction.ts";
import { freshTarget, postgresTarget, TESTER } from "../support/database.ts";
import { demote, type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";

/** More than the size of the pool. */
const LOSSES = 3;

/** A lost connection keeps no place in the pool, although Kysely does not release a connection whose BEGIN failed. */
describe.skipIf(!canStart("postgres"))("a pool of one connection", () => {
  let database: ManagedDatabase;

  beforeAll(async () => {
    const { target } = await freshTarget("postgres");
    if (target.kind !== "postgres") throw new Error("unreachable");
    database = (await Database.open({ target: { ...target, poolSize: 1, statementTimeoutMs: 200 } })).for(TESTER);
  });
  afterAll(() => database.close());

  async function backendOf({ em }: Transaction): Promise<number> {
    const [row] = await em.execute<{ pid: number }[]>("select pg_backend_pid() as pid");
    return row!.pid;
  }

  it("recovers from a BEGIN that is never answered", async () => {
    for (let n = 0; n < LOSSES; n++) {
      const backend = await database.transact(backendOf);
      process.kill(backend, "SIGSTOP");
      await expect(database.transact(backendOf)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
      process.kill(backend, "SIGCONT");
    }
    expect(await database.transact(backendOf)).toBeGreaterThan(0);
  });
});

/** After a refused BEGIN the connection is still open. It must not stay with the failed transaction. */
describe.skipIf(!canStart("postgres"))("a pool of one connection recovers from a refused BEGIN", () => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres?.stop());

  const tryThrice = async (database: ManagedDatabase) => {
    for (let n = 0; n < LOSSES; n++) {
      await expect(database.transact(async () => {})).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    }
  };

  it("after its role was revoked and granted again", async () => {
    await postgres.sql(
      "create role app; create role entry login in role app; grant create, usage on schema public to app",
    );
    const url = new URL(await postgres.createDatabase("roles"));
    await postgres.sql("alter schema public owner to app", "roles");
    url.username = "entry";
    url.search = "?options=-c%20role%3Dapp";
    await postgres.sql(`alter role entry password '${url.password}'`);
    const database = (await Database.open({ target: postgresTarget(url.href, 1) })).for(TESTER);
    await database.migrate();
    await postgres.sql("revoke app from entry");
    await tryThrice(database);
    await postgres.sql("grant app to entry");
    await expect(database.transact(async () => "done")).resolves.toBe("done");
    await database.close();
  });

  it("after the standby that refused it is promoted", async () => {
    const database = (await Database.open({ target: postgresTarget(postgres.url(), 1) })).for(TESTER);
    await database.migrate();
    await demote(postgres);
    await expect
      .poll(() => database.transact(async () => {}).catch((error: unknown) => error), { timeout: 10_000 })
      .toMatchObject({ cause: { code: "25006" } });
    await tryThrice(database);
    await postgres.sql("select pg_promote()");
    await expect(database.transact(async () => "done")).resolves.toBe("done");
    await database.close();
  });
});
