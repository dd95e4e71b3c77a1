import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { systemClock } from "../lib/clock.ts";
import { createCommandLog } from "../lib/log.ts";
import { type Database, EMBEDDED_FOLDER } from "../postgres/database.ts";
import { migrationScript } from "../postgres/migrations/migration-script.ts";
import { type SchemaState, tooNewText } from "../postgres/migrations/schema-state.ts";
import { openDatabase } from "../postgres/start/open-database.ts";
import { databaseTarget } from "../start/prepared-database.ts";

/** The exit codes of `status`. Scripts decide by them, so a number never changes its meaning. */
export const STATUS_EXIT = {
  up_to_date: 0,
  /** The database lacks a migration of this version. */
  pending: 3,
  /** A later version has migrated the database, and this version can run beside it. */
  newer: 4,
  /** A later version has migrated the database, and this version can't run beside it. */
  too_new: 5,
} as const;

export type Standing = keyof typeof STATUS_EXIT;

const DATABASE_WAIT_MS = 10_000;

/**
 * Looks at the schema of the configured database, and writes nothing. It needs SELECT on the list of applied
 * migrations.
 *
 * @throws Error that says what to do: no embedded database, or one in use; PostgreSQL unreachable
 */
export async function lookAtSchema<T>(config: Config, look: (database: Database) => Promise<T>): Promise<T> {
  const target = databaseTarget(config);
  if (target.kind === "embedded" && !existsSync(join(target.folder, EMBEDDED_FOLDER))) {
    throw new Error(
      `there is no database in ${target.folder}; set DATABASE_URL, or LATCHKEY_DATA_DIR to the service's`,
    );
  }
  const database = await openDatabase({
    target,
    clock: systemClock,
    log: createCommandLog(),
    waitMs: DATABASE_WAIT_MS,
  });
  try {
    return await look(database);
  } finally {
    await database.close();
  }
}

export function standingOf(state: SchemaState): Standing {
  if (state.tooNew !== undefined) return "too_new";
  if (state.pending.length > 0) return "pending";
  return state.later.length > 0 ? "newer" : "up_to_date";
}

export function statusText(state: SchemaState): string {
  const rows = state.applied.map(({ name, appliedAtMs }) => {
    const word = state.later.includes(name) ? "later  " : "applied";
    return `${word}  ${new Date(appliedAtMs).toISOString()}  ${name}\n`;
  });
  const waiting = state.pending.map((name) => `pending  ${" ".repeat(24)}  ${name}\n`);
  return `this version needs ${state.needed}\n${rows.join("")}${waiting.join("")}${lastLine(state)}\n`;
}

function lastLine(state: SchemaState): string {
  const standing = standingOf(state);
  switch (standing) {
    case "up_to_date":
      return "the schema is up to date";
    case "pending":
      return `migrations are pending: ${state.pending.length}; run: npm run --silent migrate`;
    case "newer":
      return "the schema is newer than this version, which can run beside it";
    case "too_new":
      return tooNewText(state)!;
    default:
      return standing satisfies never;
  }
}

export function statusJson(state: SchemaState): string {
  const { needed, pending, later } = state;
  const applied = state.applied.map(({ name, appliedAtMs }) => ({
    name,
    apply_time: new Date(appliedAtMs).toISOString(),
  }));
  return `${JSON.stringify({ state: standingOf(state), needed, applied, pending, later }, null, 2)}\n`;
}

/** The statements that `migrate` would run: as a script for psql, or as JSON. */
export async function dryRun(database: Database, asJson: boolean): Promise<string> {
  const plans = await database.planMigrations();
  if (!asJson) return migrationScript(plans, database.target);
  const migrations = plans.map(({ name, before, inTransaction }) => ({
    name,
    before_transaction: before,
    in_transaction: inTransaction,
  }));
  return `${JSON.stringify({ migrations }, null, 2)}\n`;
}
