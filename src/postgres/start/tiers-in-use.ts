import type { ManagedDatabase } from "../database.ts";

/**
 * Names of all tiers that a user or an unrevoked key has. Each step finds the next tier in an index (a loose index
 * scan), so the number of steps is the number of tiers, not of rows.
 */
export async function tiersInUse(database: ManagedDatabase): Promise<string[]> {
  const rows = await database.read(
    `with recursive ${stepsSql("of_users", "users", "true")},
       ${stepsSql("of_keys", "api_keys", "kind = 'api' and state <> 'revoked'")}
     select tier from of_users where tier is not null
     union select tier from of_keys where tier is not null order by tier`,
    [],
  );
  return rows.map((row) => row.tier as string);
}

/** SQL: a recursive query of the tiers in a table, with a null at the end. */
function stepsSql(name: string, table: string, condition: string): string {
  const next = (bound: string) => `select tier from ${table} where ${condition} and ${bound} order by tier limit 1`;
  return `${name} as (
    (${next("true")}) union all select (${next(`tier > ${name}.tier`)}) from ${name} where tier is not null
  )`;
}
