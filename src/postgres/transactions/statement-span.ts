import type { SpanFacts } from "../../lib/tracing.ts";

/** The word that says what a statement does. A statement that begins with `with` has it later. */
const OPERATION = /\b(select|insert|update|delete|commit)\b/i;
/** A table that a statement may name here. */
const TABLE = /\b(?:from|join|into|update)\s+"?([a-z_]+)"?/gi;

/** The tables that a span may name. */
const TABLES: ReadonlySet<string> = new Set([
  ...["users", "sessions", "password_resets", "signing_keys", "api_keys", "key_secrets", "key_requests", "changes"],
  ...["change_horizon", "master_key_checks", "login_accounts", "login_networks", "login_addresses", "audit_events"],
  ...["known_logins", "certificate_names", "audit_exports", "audit_outbox"],
]);

/**
 * The facts of a statement's span: what it does, and the first table that it names. The text itself is in no span: the
 * ORM writes parameters into it before it sends it, and so the text has the values. Both words are of closed lists,
 * whatever values the text has.
 */
export function statementSpan(sql: string): SpanFacts {
  const operation = OPERATION.exec(sql)?.[1]?.toUpperCase() ?? "OTHER";
  const system = { "db.system.name": "postgresql", "db.operation.name": operation };
  for (const [, table] of sql.matchAll(TABLE)) {
    if (TABLES.has(table!)) {
      return { name: `${operation} ${table}`, attributes: { ...system, "db.collection.name": table } };
    }
  }
  return { name: operation, attributes: system };
}
