/**
 * The meaning of PostgreSQL's error codes for the operator of the service, and what to do about each (PostgreSQL,
 * Appendix A). docs/OPERATIONS.md has the same table; a test compares the two.
 */

/** How an error ends. */
export type Ending =
  /** An outage: it ends by itself, and a start waits for it. */
  | "by_itself"
  /** It may end by itself, but mostly a person has to act: a start waits for it, and logs what to do. */
  | "perhaps"
  /** Waiting does not help: a start gives up immediately. */
  | "by_a_person";

export interface SqlState {
  /** PostgreSQL's name of the code. */
  readonly name: string;
  readonly meaning: string;
  readonly todo: string;
  readonly ending: Ending;
}

const RESTORE = "stop the service and restore the database from a backup, or repair it";
const APPLY_SCHEMA = "start the service once with LATCHKEY_MIGRATE=true; if the tables were dropped, restore a backup";
const NAME_SCHEMA = "create the schema, or correct search_path in DATABASE_URL or of the role";

/** Every code that concerns the database, not the call that met it. */
export const SQL_STATES: Readonly<Record<string, SqlState>> = {
  "08P01": {
    name: "protocol_violation",
    meaning: "a connection pooler refuses the connection or the statement",
    todo: "read the pooler's log; pgbouncer must use session or transaction mode, and reach PostgreSQL",
    ending: "perhaps",
  },
  "22021": {
    name: "character_not_in_repertoire",
    meaning: "the database's encoding cannot hold a text",
    todo: "create the database with the encoding UTF8",
    ending: "by_a_person",
  },
  "22P05": {
    name: "untranslatable_character",
    meaning: "the database's encoding cannot hold a text",
    todo: "create the database with the encoding UTF8",
    ending: "by_a_person",
  },
  "25006": {
    name: "read_only_sql_transaction",
    meaning: "the server is a standby, or takes no writes",
    todo: "promote it, or let DATABASE_URL name the primary",
    ending: "perhaps",
  },
  "25P03": {
    name: "idle_in_transaction_session_timeout",
    meaning: "PostgreSQL ended a transaction in which this process stood still",
    todo: "give the process more processor time",
    ending: "by_itself",
  },
  "25P04": {
    name: "transaction_timeout",
    meaning: "PostgreSQL ended a transaction for its length",
    todo: "raise transaction_timeout of the role",
    ending: "perhaps",
  },
  "28000": {
    name: "invalid_authorization_specification",
    meaning: "PostgreSQL refuses this role, or wants TLS",
    todo: "see its pg_hba.conf, and the role and sslmode in DATABASE_URL",
    ending: "by_a_person",
  },
  "28P01": {
    name: "invalid_password",
    meaning: "PostgreSQL refuses this password",
    todo: "correct the password in DATABASE_URL",
    ending: "by_a_person",
  },
  "3D000": {
    name: "invalid_catalog_name",
    meaning: "there is no such database",
    todo: "create it first, or correct its name in DATABASE_URL",
    ending: "by_a_person",
  },
  "3F000": {
    name: "invalid_schema_name",
    meaning: "there is no such schema, or none of search_path exists",
    todo: NAME_SCHEMA,
    ending: "by_a_person",
  },
  "42501": {
    name: "insufficient_privilege",
    meaning: "the role lacks a privilege, or row security hides rows from it",
    todo: "make the role the owner of the tables, without row security, with CREATE on their schema",
    ending: "by_a_person",
  },
  "42703": {
    name: "undefined_column",
    meaning: "a column is missing",
    todo: APPLY_SCHEMA,
    ending: "by_a_person",
  },
  "42704": {
    name: "undefined_object",
    meaning: "a type or another object is missing",
    todo: "use PostgreSQL 15 or newer, and apply the schema with LATCHKEY_MIGRATE=true",
    ending: "by_a_person",
  },
  "42883": {
    name: "undefined_function",
    meaning: "a function is missing",
    todo: "use PostgreSQL 15 or newer",
    ending: "by_a_person",
  },
  "42P01": {
    name: "undefined_table",
    meaning: "a table is missing, or lies in a schema outside of search_path",
    todo: APPLY_SCHEMA,
    ending: "by_a_person",
  },
  "42P07": {
    name: "duplicate_table",
    meaning: "a table of the service is there, but the table mikro_orm_migrations does not know it",
    todo: "restore mikro_orm_migrations from a backup, or use an empty database",
    ending: "by_a_person",
  },
  "53100": {
    name: "disk_full",
    meaning: "the server's disk is full",
    todo: "free or add disk space",
    ending: "perhaps",
  },
  "53200": {
    name: "out_of_memory",
    meaning: "the server is out of memory",
    todo: "give it more memory, or lower work_mem or max_connections",
    ending: "perhaps",
  },
  "53300": {
    name: "too_many_connections",
    meaning: "the server or the role has no connection left",
    todo: "raise max_connections or the role's limit, or lower LATCHKEY_DATABASE_POOL_SIZE or the number of processes",
    ending: "perhaps",
  },
  "53400": {
    name: "configuration_limit_exceeded",
    meaning: "a limit of the server is reached, such as temp_file_limit",
    todo: "raise that limit for the role",
    ending: "perhaps",
  },
  "55000": {
    name: "object_not_in_prerequisite_state",
    meaning: "the database takes no connections",
    todo: "allow them: alter database ... with allow_connections true",
    ending: "perhaps",
  },
  "55P03": {
    name: "lock_not_available",
    meaning: "another session holds a lock on a row or a table",
    todo: "find it in pg_locks and pg_stat_activity, and end it if it does not end",
    ending: "by_itself",
  },
  "57014": {
    name: "query_canceled",
    meaning: "a statement took longer than it may, or was cancelled",
    todo: "look for a slow disk, locks that others hold and missing statistics (run analyze)",
    ending: "by_itself",
  },
  "57P01": {
    name: "admin_shutdown",
    meaning: "PostgreSQL is stopping, or an administrator ended the connection",
    todo: "wait until it is up again",
    ending: "by_itself",
  },
  "57P02": {
    name: "crash_shutdown",
    meaning: "PostgreSQL restarts after a crash",
    todo: "read its log",
    ending: "by_itself",
  },
  "57P03": {
    name: "cannot_connect_now",
    meaning: "PostgreSQL is starting, stopping or recovering",
    todo: "wait until it is up; read its log if it stays so",
    ending: "by_itself",
  },
  "57P04": {
    name: "database_dropped",
    meaning: "the database was dropped",
    todo: "restore it from a backup",
    ending: "by_a_person",
  },
  "57P05": {
    name: "idle_session_timeout",
    meaning: "PostgreSQL ended a connection that rested",
    todo: "set idle_session_timeout of the role to 0",
    ending: "by_itself",
  },
  "58030": { name: "io_error", meaning: "the server cannot read or write its disk", todo: RESTORE, ending: "perhaps" },
  "58P01": { name: "undefined_file", meaning: "a file of the server is missing", todo: RESTORE, ending: "perhaps" },
  XX001: { name: "data_corrupted", meaning: "a table is corrupt", todo: RESTORE, ending: "perhaps" },
  XX002: { name: "index_corrupted", meaning: "an index is corrupt", todo: "reindex the database", ending: "perhaps" },
};

/** A code in words, such as `3D000 invalid_catalog_name: there is no such database; create it first, or correct ...` */
export function sqlStateText(code: string): string | undefined {
  const state = SQL_STATES[code];
  return state && `${code} ${state.name}: ${state.meaning}; ${state.todo}`;
}
