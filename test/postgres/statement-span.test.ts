import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { statementSpan } from "../../src/postgres/transactions/statement-span.ts";

const root = join(import.meta.dirname, "../..");

describe("a statement's span", () => {
  it.each([
    ["select seed from sessions where id = ?", "SELECT sessions"],
    ['insert into "api_keys" ("id") values (?)', "INSERT api_keys"],
    ["update sessions s set ended_at = p.now from (select ?::timestamptz as now) p", "UPDATE sessions"],
    ["delete from login_accounts where ctid in (select ctid from login_accounts)", "DELETE login_accounts"],
    ["with told as (insert into changes (kind) select ?) select pg_notify(?, '')", "INSERT changes"],
    ["select each.id from (select ? as kind) p, unnest(?::text[]) each join users u on true", "SELECT users"],
    ["select pg_advisory_xact_lock(?::bigint)", "SELECT"],
    ["commit", "COMMIT"],
    ["listen changes", "OTHER"],
  ])("of %j is %s", (sql, name) => {
    expect(statementSpan(sql).name).toBe(name);
  });

  it("has none of the values that the ORM has written into the text", () => {
    const { name, attributes } = statementSpan(
      `select 'from canary_table', 'canary@example.com' from users where email = 'into canary'`,
    );
    expect(name).toBe("SELECT users");
    expect(JSON.stringify(attributes)).not.toContain("canary");
  });

  it("may have each table of the schema", () => {
    const migrations = globSync("src/postgres/migrations/*.ts", { cwd: root });
    const texts = migrations.map((path) => readFileSync(join(root, path), "utf8"));
    const tables = texts.flatMap((text) => [...text.matchAll(/create table (?!if )(\w+)/g)].map(([, table]) => table!));
    expect(tables.length).toBeGreaterThan(10);
    // The id of the database's history comes with the beginning of each transaction.
    const shown = tables.filter((table) => table !== "change_incarnation");
    expect(shown.map((table) => statementSpan(`select from ${table}`).name)).toEqual(
      shown.map((table) => `SELECT ${table}`),
    );
  });
});
