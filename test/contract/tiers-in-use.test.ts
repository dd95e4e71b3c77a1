import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tiersInUse } from "../../src/postgres/start/tiers-in-use.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { until } from "../support/until.ts";

const USERS = 20_000;

describe.each(DATABASE_KINDS)("the tiers in use on %s", (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await openDatabase(kind);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const write = (sql: string) => test.database.write(sql, []);
  const addUsers = (count: number, tier: string) =>
    write(`insert into users (id, email, email_normalized, display_name, tier, scopes, state, password_version, created_at)
      select '${tier}' || n, '${tier}' || n, '${tier}' || n, '', '${tier}', '{}', 'active', 1, now()
      from generate_series(1, ${count}) n`);
  const addKey = (id: string, kindOfKey: string, tier: string, state: string) =>
    write(`insert into api_keys (id, kind, environment, name, description, prefix, owner_id, issuer_id, tier, scopes, metadata,
        allowed_ips, allowed_methods, state, service_controlled, created_at, version)
      values ('${id}', '${kindOfKey}', 'live', '', '', '', ${kindOfKey === "api" ? "'basic1'" : "null"}, '', '${tier}', '{}',
        '{}', '{}', '{}', '${state}', false, now(), 1)`);

  it("are none in an empty database, and otherwise those of people and of unrevoked keys", async () => {
    expect(await tiersInUse(test.database)).toEqual([]);
    await addUsers(3, "basic");
    await addUsers(1, "pro");
    await addKey("a", "api", "basic", "active");
    await addKey("b", "api", "gold", "disabled");
    await addKey("c", "api", "lead", "revoked");
    await addKey("d", "service", "", "active");
    expect(await tiersInUse(test.database)).toEqual(["basic", "gold", "pro"]);
  });

  it.runIf(kind === "postgres")("are found without reading the tables", async () => {
    await addUsers(USERS, "many");
    await write("analyze users");
    const reads = async () => {
      const [row] = await test.database.read(
        "select seq_tup_read::int as rows, idx_scan::int as looks from pg_stat_user_tables where relname = 'users'",
        [],
      );
      return row as { rows: number; looks: number };
    };
    // Control: this statement reads all rows, and the count shows it.
    await test.database.read("select max(display_name) from users", []);
    await until(async () => (await reads()).rows >= USERS, "the statistics show it");
    const before = await reads();
    expect(await tiersInUse(test.database)).toContain("many");
    await until(async () => (await reads()).looks > before.looks, "the statistics show that it has looked");
    expect((await reads()).rows).toBe(before.rows);
  });
});
