import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database } from "../../src/postgres/database.ts";
import type { Transaction } from "../../src/postgres/transaction.ts";
import { freshTarget } from "../support/database.ts";
import { canStart } from "../support/servers.ts";

/** More than the pool has places. */
const LOSSES = 3;

/** A lost connection takes no place of the pool with it, though Kysely gives none back whose BEGIN failed. */
describe.skipIf(!canStart("postgres"))("a pool of one connection goes on after", () => {
  let database: Database;

  beforeAll(async () => {
    const { target } = await freshTarget("postgres");
    if (target.kind !== "postgres") throw new Error("unreachable");
    database = await Database.open({ target: { ...target, poolSize: 1, statementTimeoutMs: 200 } });
  });
  afterAll(() => database.close());

  async function backendOf({ em }: Transaction): Promise<number> {
    const [row] = await em.execute<{ pid: number }[]>("select pg_backend_pid() as pid");
    return row!.pid;
  }

  it("a BEGIN that is never answered", async () => {
    for (let n = 0; n < LOSSES; n++) {
      const backend = await database.transact(backendOf);
      process.kill(backend, "SIGSTOP");
      await expect(database.transact(backendOf)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
      process.kill(backend, "SIGCONT");
    }
    expect(await database.transact(backendOf)).toBeGreaterThan(0);
  });
});
