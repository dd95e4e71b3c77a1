import assert from "node:assert/strict";
import pg from "pg";
import { type Opening, openingOf, type SessionSettings } from "./session-settings.ts";

type Answer = pg.QueryResult;
/** The signature of `query` that the ORM and this room use. pg has ten. */
type Query = (text: string, values?: readonly Value[]) => Promise<Answer>;
type Value = string | null;

/** Members of pg's client that its types lack. */
interface Untyped {
  readonly connection: {
    readonly stream: { destroy(): void };
    on(event: "parameterStatus", listener: (status: { parameterName: string; parameterValue: string }) => void): void;
  };
  /** The state of the connection's transaction: `I` between transactions. */
  getTransactionStatus(): string | null;
  query: Query;
}

/**
 * Makes every transaction of a connection begin with these settings. So neither the defaults of server, database and
 * role matter, nor the session that a pooler assigns. A single statement and its settings are one message, so that the
 * settings cost no round trip.
 *
 * Statements carry their values in their text, as the ORM writes them, because PostgreSQL accepts several statements in
 * one message only without parameters.
 */
export function applySettings(client: pg.Client, settings: SessionSettings): void {
  const untyped = client as unknown as Untyped;
  let opening = openingOf(settings, 0);
  untyped.connection.on("parameterStatus", ({ parameterName, parameterValue }) => {
    if (parameterName === "server_version") opening = openingOf(settings, Number.parseInt(parameterValue, 10));
  });
  const send = untyped.query.bind(client) as (text: string) => Promise<Answer | readonly Answer[]>;
  untyped.query = async (statement, values = []) => {
    const text = withValues(statement, values);
    const isBetween = untyped.getTransactionStatus() === "I";
    try {
      const answer = await send(isBetween ? opened(text, opening) : text);
      return Array.isArray(answer) ? answer.at(-1) : answer;
    } catch (error) {
      // Kysely never releases a connection whose BEGIN failed. Once it has ended, releaseEnded releases it.
      if (statement === "begin") untyped.connection.stream.destroy();
      throw error;
    }
  };
}

/** The statement with each `$1` replaced by an escaped literal. No value can end its literal. */
function withValues(text: string, values: readonly Value[]): string {
  if (values.length === 0) return text;
  return text.replace(/\$(\d+)/g, (_, n) => {
    const value = values[Number(n) - 1];
    assert(value === null || typeof value === "string", `the statement has no text for $${n}`);
    return value === null ? "null" : pg.escapeLiteral(value);
  });
}

function opened(text: string, { begin, before }: Opening): string {
  return text === "begin" ? begin : before + text;
}
