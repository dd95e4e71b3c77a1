import type { ManagedDatabase } from "./database.ts";

/**
 * Names of all tiers that a user or a key that is not revoked has. Each is found behind the one before in an index, so
 * that it takes as many steps as there are tiers, and not as there are rows.
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

/** A table of the tiers in a table, and a null at the end. */
function stepsSql(name: string, table: string, condition: string): string {
  const next = (bound: string) => `select tier from ${table} where ${condition} and ${bound} order by tier limit 1`;
  return `${name} as (
    (${next("true")}) union all select (${next(`tier > ${name}.tier`)}) from ${name} where tier is not null
  )`;
}
