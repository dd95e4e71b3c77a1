import type { DatabaseTarget } from "../connections/pools.ts";
import { TAKE_LOCK } from "./migration-lock.ts";
import type { PlannedMigration } from "./planned-migration.ts";

/** How long a statement of the script waits for a lock, as in a start. */
const LOCK_TIMEOUT = "1s";

/**
 * Migrations as a script for psql, in the same transactions and under the same lock as the service applies them. Run it
 * with `psql -v ON_ERROR_STOP=1`.
 *
 * @param target that of an open database
 */
export function migrationScript(plans: readonly PlannedMigration[], target: DatabaseTarget): string {
  if (plans.length === 0) return "-- the schema is up to date\n";
  const lines = plans.flatMap(({ name, before, inTransaction }) => [
    `\n-- ${name}`,
    ...before,
    "begin",
    ...(target.kind === "postgres" ? [`set local lock_timeout = '${LOCK_TIMEOUT}'`, TAKE_LOCK] : []),
    ...inTransaction,
    "commit",
  ]);
  const ended = lines.map((line) => (line.startsWith("\n--") ? `${line}\n` : `${line};\n`));
  return [searchPath(target), ...ended].join("");
}

function searchPath(target: DatabaseTarget): string {
  if (target.kind === "embedded") return "";
  const value = target.connection.settings.find(([name]) => name === "search_path")?.[1];
  return value === undefined ? "" : `set search_path = ${value};\n`;
}
