import { Migration } from "@mikro-orm/migrations";
import { literal } from "./schema-state.ts";

/** An index on a table that an earlier migration made. */
export interface ConcurrentIndexDefinition {
  readonly name: string;
  readonly table: string;
  /** The rest of the statement after the table's name, such as `(user_id, created_at desc) where ended_at is null`. */
  readonly on: string;
  readonly isUnique?: boolean;
}

/**
 * A migration that makes one index without a lock that keeps writers out. PostgreSQL refuses `create index
 * concurrently` in a transaction, so the migrator runs it on a connection of its own (concurrent-build.ts). Code must
 * work, if slowly, without the index, because a build may take hours.
 */
export abstract class ConcurrentIndex extends Migration {
  abstract readonly index: ConcurrentIndexDefinition;

  override isTransactional(): boolean {
    return false;
  }

  /** The statement for a table so small that its lock is not noticed, and for the embedded database. */
  override up(): void {
    this.addSql(createIndex(this.index, ""));
  }
}

/** SQL: makes the index without keeping writers out. `schema` is quoted already. */
export function createConcurrently(index: ConcurrentIndexDefinition, schema: string): string {
  return createIndex({ ...index, table: `${schema}.${index.table}` }, "concurrently ");
}

/** SQL: removes what an interrupted build left. `schema` is quoted already. */
export function dropConcurrently({ name }: ConcurrentIndexDefinition, schema: string): string {
  return `drop index concurrently if exists ${schema}.${name}`;
}

/**
 * SQL: fails unless the index is there and valid. It goes before the note in the list of migrations: `if not exists`
 * also skips an invalid index, as an interrupted run of a script leaves one.
 */
export function requireValid({ name }: ConcurrentIndexDefinition, schema: string): string {
  const indexed = literal(`${schema}.${name}`);
  const text = `the index ${name} is invalid or missing, because its build was interrupted`;
  const hint =
    "Run the migration again, or make another script with --dry-run: it drops what is left, and builds again.";
  return `do $$ begin
  if not coalesce((select indisvalid from pg_index where indexrelid = to_regclass(${indexed})), false) then
    raise exception using message = ${literal(text)}, hint = ${literal(hint)};
  end if;
end $$`;
}

function createIndex({ name, table, on, isUnique }: ConcurrentIndexDefinition, how: string): string {
  return `create ${isUnique ? "unique " : ""}index ${how}if not exists ${name} on ${table} ${on}`;
}
