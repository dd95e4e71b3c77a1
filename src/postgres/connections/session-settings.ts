/**
 * The settings that statements depend on. A server, a database or a role may have other defaults, and behind a
 * connection pooler each transaction may run in another session. So each transaction sets them itself, and the session
 * keeps none. Startup parameters would be refused by a pooler, and a plain SET would stay for the pooler's next client.
 */
import pg from "pg";

export interface SessionSettings {
  /** Timeout of one statement. */
  readonly statementTimeoutMs: number;
  /** How long a statement waits for a lock; 0 = as long as it may run. */
  readonly lockTimeoutMs: number;
  /** The settings in DATABASE_URL, and the schema that the start found: name, then value. */
  readonly named: readonly (readonly [name: string, value: string])[];
  /** "read only" keeps hot reads from writing, whatever their text. */
  readonly access: "read only" | "read write";
}

/** Maximum time for which a process that stalls in a transaction holds its locks. */
const IDLE_IN_TRANSACTION_MS = 15_000;
const TRANSACTION_TIMEOUT_SINCE = 17;

/** Settings that change the text of an answer or its rows, with PostgreSQL's own default values. */
const ANSWERS = {
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  extra_float_digits: "1",
  bytea_output: "hex",
  xmloption: "content",
  xmlbinary: "base64",
  array_nulls: "on",
  transform_null_equals: "off",
  backslash_quote: "safe_encoding",
  quote_all_identifiers: "off",
  exit_on_error: "off",
  // If the planner's costs are set high, compiling takes longer than the timeout of a statement.
  jit: "off",
  // A policy that would hide rows fails the statement instead, because a hidden key would be INVALID.
  row_security: "off",
} as const;

/**
 * SQL that raises `synchronous_commit` to `on` from `off`, `local` and `remote_write`. With `on`, a commit is
 * acknowledged only when it is on disk, and also on the disk of a synchronous standby. `remote_apply` promises more,
 * and stays.
 */
const DURABLE = `case when pg_catalog.current_setting('synchronous_commit') not in ('on', 'remote_apply')
  then pg_catalog.set_config('synchronous_commit', 'on', true) end`;

/** SQL with which a transaction of these settings begins. */
export interface Opening {
  /** In place of `begin`. */
  readonly begin: string;
  /** Before a single statement: both together are one implicit transaction, which ends with the statement. */
  readonly before: string;
}

/** @param serverMajor major version of PostgreSQL, such as 15 */
export function openingOf(settings: SessionSettings, serverMajor: number): Opening {
  const modes = `isolation level read committed, ${settings.access}, not deferrable`;
  const values = Object.entries(valuesOf(settings, serverMajor)).map(([name, value]) => `set local ${name} = ${value}`);
  const computed = [
    ...settings.named.map(([name, value]) => `pg_catalog.set_config('${name}', ${pg.escapeLiteral(value)}, true)`),
    ...(settings.access === "read write" ? [DURABLE] : []),
  ];
  const sets = [...values, ...(computed.length > 0 ? [`select ${computed.join(", ")}`] : [])].join("; ");
  return { begin: `begin ${modes}; ${sets}`, before: `set transaction ${modes}; ${sets}; ` };
}

function valuesOf({ statementTimeoutMs, lockTimeoutMs }: SessionSettings, serverMajor: number) {
  return {
    ...Object.fromEntries(Object.entries(ANSWERS).map(([name, value]) => [name, pg.escapeLiteral(value)])),
    statement_timeout: `${statementTimeoutMs}`,
    lock_timeout: `${lockTimeoutMs}`,
    idle_in_transaction_session_timeout: `${IDLE_IN_TRANSACTION_MS}`,
    ...(serverMajor >= TRANSACTION_TIMEOUT_SINCE && { transaction_timeout: "0" }),
  };
}
