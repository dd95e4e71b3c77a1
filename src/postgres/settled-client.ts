import pg from "pg";
import { type Opening, openingOf, type SessionSettings } from "./session-settings.ts";

type Answer = pg.QueryResult;
/** pg has ten signatures for it; this is the one that the ORM and this room use. */
type Query = (text: string, values?: readonly unknown[]) => Promise<Answer>;

/** What pg knows of a connection and its types don't tell. */
interface Wire {
  readonly connection: {
    on(event: "parameterStatus", listener: (status: { parameterName: string; parameterValue: string }) => void): void;
  };
  /** `I` between transactions. */
  getTransactionStatus(): string | null;
}

/**
 * A class of connections whose every transaction begins with these settings, whatever server, database and role have as
 * their defaults, and whichever session a pooler hands it to. A statement alone is sent with its settings as one message,
 * so that it costs no further way there and back.
 *
 * Statements carry their values in their text, as the ORM writes them: PostgreSQL takes several in one message only
 * without parameters.
 */
export function settledClient(settings: SessionSettings): typeof pg.Client {
  return class SettledClient extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config);
      const wire = this as unknown as Wire;
      let opening = openingOf(settings, 0);
      wire.connection.on("parameterStatus", ({ parameterName, parameterValue }) => {
        if (parameterName === "server_version") opening = openingOf(settings, Number.parseInt(parameterValue, 10));
      });
      const send = this.query.bind(this) as (text: string) => Promise<Answer | readonly Answer[]>;
      const query: Query = async (statement, values = []) => {
        const text = withValues(statement, values);
        const isBetween = wire.getTransactionStatus() === "I";
        const answer = await send(isBetween ? opened(text, opening) : text).catch(asStandby);
        return Array.isArray(answer) ? answer.at(-1) : answer;
      };
      this.query = query as unknown as typeof this.query;
    }
  };
}

/** Each `$1` as a literal, which nothing in the value can end. */
function withValues(text: string, values: readonly unknown[]): string {
  return values.length === 0 ? text : text.replace(/\$(\d+)/g, (_, n) => literal(values[Number(n) - 1]));
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return pg.escapeLiteral(String(value));
}

function opened(text: string, { begin, before }: Opening): string {
  return text === "begin" ? begin : before + text;
}

/** A standby refuses "read write" by a code of its own. It is what refuses the first write elsewhere. */
function asStandby(error: unknown): never {
  const { code, routine } = error as { code?: string; routine?: string };
  if (code === "0A000" && routine === "check_transaction_read_only") Object.assign(error as Error, { code: "25006" });
  throw error;
}
