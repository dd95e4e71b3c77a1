import assert from "node:assert/strict";
import pg from "pg";
import { type Opening, openingOf, type SessionSettings } from "./session-settings.ts";

type Answer = pg.QueryResult;
/** pg has ten signatures for it; this is the one that the ORM and this room use. */
type Query = (text: string, values?: readonly Value[]) => Promise<Answer>;
type Value = string | null;

/** What pg knows of a connection and its types don't tell. */
interface Known {
  readonly connection: {
    readonly stream: { destroy(): void };
    on(event: "parameterStatus", listener: (status: { parameterName: string; parameterValue: string }) => void): void;
  };
  /** `I` between transactions. */
  getTransactionStatus(): string | null;
  query: Query;
}

/**
 * Lets every transaction of a connection begin with these settings, whatever server, database and role have as their
 * defaults, and whichever session a pooler hands it to. A statement alone is sent with its settings as one message, so
 * that it costs no further way there and back.
 *
 * Statements carry their values in their text, as the ORM writes them: PostgreSQL takes several in one message only
 * without parameters.
 */
export function settleStatements(client: pg.Client, settings: SessionSettings): void {
  const known = client as unknown as Known;
  let opening = openingOf(settings, 0);
  known.connection.on("parameterStatus", ({ parameterName, parameterValue }) => {
    if (parameterName === "server_version") opening = openingOf(settings, Number.parseInt(parameterValue, 10));
  });
  const send = known.query.bind(client) as (text: string) => Promise<Answer | readonly Answer[]>;
  known.query = async (statement, values = []) => {
    const text = withValues(statement, values);
    const isBetween = known.getTransactionStatus() === "I";
    try {
      const answer = await send(isBetween ? opened(text, opening) : text);
      return Array.isArray(answer) ? answer.at(-1) : answer;
    } catch (error) {
      // Kysely never gives a connection back whose BEGIN failed. Ended, it is given back by releaseEnded.
      if (statement === "begin") known.connection.stream.destroy();
      throw error;
    }
  };
}

/** Each `$1` as a literal, which nothing in the value can end. */
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
