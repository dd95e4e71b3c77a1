/** Facts that a start checks of a server before it trusts it, because no session can set them itself. */
import { type DatabaseConnection, inSchemas, namesSchema } from "../../lib/database-connection.ts";
import { whenSilent } from "../../lib/when-silent.ts";
import type { Row } from "../row.ts";
import { destroy, PostgresClient } from "./connection.ts";

/** How to reach the tables. */
export interface ServerFacts {
  /** The connection; it looks up names in the schema that has the tables, or will have them. */
  readonly connection: DatabaseConnection;
  /** The schema of the list of applied migrations: that of the tables, or `public`, where earlier versions put it. */
  readonly migrationsSchema: string;
}

interface Look {
  readonly version: number;
  readonly encoding: string;
  readonly replication_role: string;
  readonly idle_session_ms: number;
  readonly schema: string | null;
  readonly search_path: string;
  readonly table_homes: readonly string[];
  readonly list_homes: readonly string[];
}

/** The oldest version that the tests run with. */
const LEAST_VERSION = 150_000;
/**
 * Minimum `idle_session_timeout` of a server. The change feed is idle for at most 1 s. Pooled connections that are idle
 * for longer may end; the pool replaces them.
 */
const LEAST_IDLE_SESSION_MS = 60_000;
/** A table that every version of the schema has. */
const TABLE = "key_secrets";
/** The table of applied migrations. */
export const LIST = "mikro_orm_migrations";
export const FORMER_SCHEMA = "public";
const CONNECT_MS = 2000;
const ANSWER_MS = 1000;

const LOOK = `select current_setting('server_version_num')::int as version,
  (select pg_encoding_to_char(encoding) from pg_database where datname = current_database()) as encoding,
  current_setting('session_replication_role') as replication_role,
  coalesce((select setting::int from pg_settings where name = 'idle_session_timeout'), 0) as idle_session_ms,
  current_schema() as schema, current_setting('search_path') as search_path,
  ${homesOf(TABLE)} as table_homes, ${homesOf(LIST)} as list_homes`;

/**
 * Looks at the server, on a connection of its own.
 *
 * @throws Error that says what to change, if the service would not work or would work differently than before; errors
 *   of the driver
 */
export async function lookAtServer(connection: DatabaseConnection): Promise<ServerFacts> {
  const look = await ask(connection);
  const isSchemaNamed = namesSchema(connection);
  const fault = faultOf(look, isSchemaNamed);
  if (fault !== undefined) throw new Error(`DATABASE_URL: ${fault}`);
  const schema = look.schema!;
  const isListElsewhere = look.table_homes.includes(schema) && !look.list_homes.includes(schema);
  if (!isListElsewhere) return { connection: inSchemas(connection, schema), migrationsSchema: schema };
  // The migrator does not write the schema before a table of `public`.
  return { connection: inSchemas(connection, schema, FORMER_SCHEMA), migrationsSchema: FORMER_SCHEMA };
}

async function ask(connection: DatabaseConnection): Promise<Look> {
  const session = { purpose: "management", connectMs: CONNECT_MS, statementTimeoutMs: ANSWER_MS } as const;
  const client = new PostgresClient(connection, session);
  client.on("error", () => {});
  try {
    await client.connect();
    const answer = client.query<Row>(LOOK);
    whenSilent(answer, ANSWER_MS, () => destroy(client));
    return (await answer).rows[0] as unknown as Look;
  } finally {
    destroy(client);
  }
}

function faultOf(look: Look, isSchemaNamed: boolean): string | undefined {
  if (look.version < LEAST_VERSION) {
    return `PostgreSQL ${Math.floor(look.version / 10_000)} is too old; use version ${LEAST_VERSION / 10_000} or newer`;
  }
  if (look.encoding !== "UTF8") {
    return `the database has the encoding ${look.encoding}; create one with the encoding UTF8 and move the data there`;
  }
  if (look.replication_role === "replica") {
    return "session_replication_role is replica, so PostgreSQL does not check foreign keys; reset it for this role and database";
  }
  if (look.idle_session_ms > 0 && look.idle_session_ms < LEAST_IDLE_SESSION_MS) {
    return `idle_session_timeout is ${look.idle_session_ms} ms, so PostgreSQL ends connections that are in use; set 0, or a minute or more, for this role`;
  }
  if (look.schema === null) {
    return `none of the schemas in search_path (${look.search_path}) exists; create one, or correct search_path`;
  }
  if (look.schema.includes(".")) return `the schema ${look.schema} has a dot in its name; use one without`;
  return wrongSchema(look, look.schema, isSchemaNamed);
}

/**
 * The fault of a search_path that leads to another schema than that of the tables. A start would create empty tables
 * there, and every key would be INVALID.
 */
function wrongSchema({ table_homes: homes }: Look, schema: string, isSchemaNamed: boolean): string | undefined {
  if (isSchemaNamed || homes.length === 0 || homes.includes(schema)) return undefined;
  return (
    `search_path leads to the schema ${schema}, but the service's tables are in ${homes.join(" and ")}; ` +
    "set search_path in DATABASE_URL (options=-c search_path=...) to the schema that is meant"
  );
}

/** SQL: the schemas that have this table, as JSON, which is the same with every driver. */
function homesOf(table: string): string {
  return `(select coalesce(json_agg(n.nspname order by n.nspname), '[]') from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where c.relname = '${table}' and c.relkind in ('r', 'p'))`;
}
