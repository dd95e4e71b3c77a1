import { MikroORM } from "@mikro-orm/postgresql";
import { describe, expect, it } from "vitest";
import { managementOptions } from "../../src/postgres/connections/orm-options.ts";
import { Database } from "../../src/postgres/database.ts";
import { FollowedHistory } from "../../src/postgres/history/followed-history.ts";
import { postgresTarget } from "../support/database.ts";
import { sql } from "../support/own-postgres.ts";
import { canStart, serverFor } from "../support/shared-servers.ts";

const MISSING = "test_that_is_missing";

describe.skipIf(!canStart("postgres"))("a database that does not exist", () => {
  const url = () => {
    const missing = new URL(serverFor("postgres")!);
    missing.pathname = `/${MISSING}`;
    return missing.href;
  };
  const made = async () => sql(serverFor("postgres")!, `select count(*) from pg_database where datname = '${MISSING}'`);

  it("is not created when it is opened", async () => {
    const failed = await Database.open({ target: postgresTarget(url()) }).catch((error: unknown) => error);
    expect(failed).toMatchObject({ reason: "DATABASE_UNAVAILABLE", cause: { code: "3D000" } });
    expect(await made()).toBe("0");
  });

  it("is not created by the ORM, which would do so by default", async () => {
    const orm = await MikroORM.init(managementOptions(postgresTarget(url()), new FollowedHistory()) as never);
    await expect(orm.connect()).resolves.toBeDefined();
    await expect(orm.em.execute("select 1")).rejects.toMatchObject({ code: "3D000" });
    expect(await made()).toBe("0");
    await orm.close(true);
  });
});
