/**
 * The one door to PostgreSQL: every connection, of a pool or alone, is a `PostgresClient` made here, from the same
 * DatabaseConnection. wire.ts brings the bytes there, with TLS as asked for; tls-files.ts reads the certificates;
 * settled-statements.ts lets every transaction begin with the settings of session-settings.ts.
 */
import pg from "pg";
import type { DatabaseConnection } from "../lib/database-connection.ts";
import { settleStatements } from "./settled-statements.ts";
import { Wire } from "./wire.ts";

/** What a connection is for; part of the name that it shows in pg_stat_activity. */
export type Purpose = "management" | "reads" | "changes" | "migrations";

/** What the connections of one purpose have beside where they lead. */
export interface Session {
  readonly purpose: Purpose;
  /** Longest that connecting may take. */
  readonly connectMs: number;
  /** Longest that a statement may run. */
  readonly statementTimeoutMs: number;
  /** Longest that a statement waits for a lock, where that is to be shorter. */
  readonly lockTimeoutMs?: number | undefined;
}

/** Fields of node-postgres' parameters that it fills from PG* variables where they are missing. */
interface FilledParameters {
  options: undefined;
  replication: undefined;
}

export class PostgresClient extends pg.Client {
  /** @param types parsers of columns, as a pool hands them on */
  constructor(connection: DatabaseConnection, session: Session, types?: pg.CustomTypesConfig) {
    super({
      host: connection.host,
      port: connection.port,
      user: connection.user,
      database: connection.database,
      password: () => passwordOf(connection),
      application_name: applicationName(connection, session.purpose),
      connectionTimeoutMillis: session.connectMs,
      types,
      // The wire speaks TLS by itself; node-postgres must neither do so nor look into PGSSLMODE.
      ssl: false,
      sslnegotiation: "postgres",
      connection: new Wire(connection),
    } as pg.ClientConfig);
    const { connectionParameters } = this as unknown as { connectionParameters: FilledParameters };
    connectionParameters.options = undefined;
    connectionParameters.replication = undefined;
    // No startup parameter: a pooler refuses those that it can't keep apart (ADR 23).
    settleStatements(this, {
      statementTimeoutMs: session.statementTimeoutMs,
      lockTimeoutMs: session.lockTimeoutMs ?? 0,
      named: connection.settings,
      access: session.purpose === "reads" ? "read only" : "read write",
    });
  }
}

/** How the ORM reaches the same server: its pool makes its connections of the class that is given with it. */
export function ormConnection(connection: DatabaseConnection, session: Session) {
  const { host, port, user, database } = connection;
  const Client = class extends PostgresClient {
    constructor({ types }: { types?: pg.CustomTypesConfig } = {}) {
      super(connection, session, types);
    }
  };
  // The pool's own limit holds for the wait for a connection, and for connecting.
  return { host, port, user, dbName: database, driverOptions: { Client, connectionTimeoutMillis: session.connectMs } };
}

/** Closes without a goodbye: that would wait for a server that may be frozen. */
export function destroy(client: PostgresClient): void {
  (client.connection as unknown as Wire).stream.destroy();
}

function applicationName({ applicationName }: DatabaseConnection, purpose: Purpose): string {
  return purpose === "management" ? applicationName : `${applicationName}-${purpose}`;
}

/** Without a password node-postgres would look into PGPASSWORD and ~/.pgpass. */
function passwordOf({ password }: DatabaseConnection): string {
  if (password !== undefined) return password;
  throw Object.assign(new Error("PostgreSQL asks for a password, and DATABASE_URL has none"), { code: "28P01" });
}
