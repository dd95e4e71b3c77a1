/** The schema of the data set: applied from nothing, and the newest migrations once there are rows. */
import type { DatabaseConnection } from "../../src/lib/database-connection.ts";
import { closePools, openPools } from "../../src/postgres/connections/pools.ts";
import { MIGRATIONS } from "../../src/postgres/migrations/migrations.ts";

/** The time that a migration took. */
export interface MigrationTime {
  readonly name: string;
  readonly seconds: number;
}

/** Longer than any migration of the largest data set. */
const STATEMENT_TIMEOUT_MS = 1_800_000;

/** Applies migrations one by one, up to and including `last`. The service applies them in one transaction. */
export async function migrateTo(connection: DatabaseConnection, last: string): Promise<readonly MigrationTime[]> {
  const pools = await openPools({
    target: { kind: "postgres", connection, poolSize: 1, statementTimeoutMs: STATEMENT_TIMEOUT_MS },
  });
  const times: MigrationTime[] = [];
  try {
    const pending = new Set((await pools.orm.migrator.getPending()).map(({ name }) => name));
    for (const name of migrationNames()) {
      if (pending.has(name)) {
        const startMs = performance.now();
        await pools.orm.migrator.up({ to: name });
        times.push({ name, seconds: (performance.now() - startMs) / 1000 });
      }
      if (name === last) break;
    }
    return times;
  } finally {
    await closePools(pools);
  }
}

/** All migrations, in their order. */
export function migrationNames(): readonly string[] {
  return MIGRATIONS.map((Migration) => new Migration(undefined as never, undefined as never).name);
}
