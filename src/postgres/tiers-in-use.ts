import type { Database } from "./database.ts";

/** Names of all tiers that a user or a key that is not revoked has. */
export async function tiersInUse(database: Database): Promise<string[]> {
  const rows = await database.run(
    "select tier from users union select tier from api_keys where kind = 'api' and state <> 'revoked' order by tier",
    [],
  );
  return rows.map((row) => row.tier as string);
}
