/**
 * The settings that statements depend on. A server, a database or a role may have others as its defaults, and behind a
 * connection pooler each transaction may run in another session. So each transaction sets its own, and the session keeps
 * none: no startup parameter that a pooler would refuse, and no SET that would stay for the pooler's next client.
 */
import pg from "pg";

export interface SessionSettings {
  /** Longest that one statement may run. */
  readonly statementTimeoutMs: number;
  /** Longest that a statement waits for a lock; 0 = as long as it may run. */
  readonly lockTimeoutMs: number;
  /** What DATABASE_URL sets, and the schema that the start has found: name, then value. */
  readonly named: readonly (readonly [name: string, value: string])[];
  /** Hot reads and polls can't write, whatever their text. */
  readonly access: "read only" | "read write";
}

/** A process that stands still in the midst of a transaction holds its locks for at most this long. */
const IDLE_IN_TRANSACTION_MS = 15_000;
const TRANSACTION_TIMEOUT_SINCE = 17;

/** What changes the text of an answer, or which rows it has, at values that PostgreSQL has without any configuration. */
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
  // A policy that would hide rows fails the statement instead: a key that is hidden would be INVALID.
  row_security: "off",
} as const;

/**
 * Acknowledged means on disk, and with a synchronous standby on its disk too: `off`, `local` and `remote_write` of a role
 * are raised to `on`. `remote_apply` promises more, and stays.
 */
const DURABLE = `case when pg_catalog.current_setting('synchronous_commit') not in ('on', 'remote_apply')
  then pg_catalog.set_config('synchronous_commit', 'on', true) end`;

/** SQL with which a transaction of these settings begins. */
export interface Opening {
  /** In place of `begin`. */
  readonly begin: string;
  /** Before a statement that is sent alone: both are one implicit transaction, which ends with the statement. */
  readonly before: string;
}

/** @param serverMajor of PostgreSQL's version, such as 15 */
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
