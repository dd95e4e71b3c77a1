/** The schema of the data set: applied from nothing, and the newest migrations once there are rows. */
import type { DatabaseConnection } from "../../src/lib/database-connection.ts";
import { Database } from "../../src/postgres/database.ts";
import { MIGRATIONS } from "../../src/postgres/migrations/migrations.ts";
import { namesOf } from "../../src/postgres/migrations/planned-migration.ts";

/** The time that a migration took. */
export interface MigrationTime {
  readonly name: string;
  readonly seconds: number;
}

/** Longer than any migration of the largest data set. */
const STATEMENT_TIMEOUT_MS = 1_800_000;

/** Applies the migrations that the database lacks, up to and including `last`. @returns the time of each */
export async function migrateTo(connection: DatabaseConnection, last: string): Promise<readonly MigrationTime[]> {
  const database = await Database.open({
    target: {
      kind: "postgres",
      connection,
      poolSize: 1,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      purpose: "migrations",
    },
  });
  const times: MigrationTime[] = [];
  let beginMs = performance.now();
  const onApplied = (name: string) => {
    times.push({ name, seconds: (performance.now() - beginMs) / 1000 });
    beginMs = performance.now();
  };
  const migrations = MIGRATIONS.slice(0, migrationNames().indexOf(last) + 1);
  try {
    await database.migrate({ migrations, onApplied });
    return times;
  } finally {
    await database.close();
  }
}

/** All migrations, in their order. */
export function migrationNames(): readonly string[] {
  return namesOf(MIGRATIONS);
}
