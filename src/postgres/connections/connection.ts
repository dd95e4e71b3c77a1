/**
 * Connections to PostgreSQL, from the socket to the pools. Every connection, in a pool or alone, is a `PostgresClient`
 * made from the same DatabaseConnection. These files must not know what is read or written.
 *
 *   connection.ts            a connection, and the ORM's way to make one
 *   wire.ts                  its bytes: a socket, TCP, TLS by sslmode
 *   tls-files.ts             certificates and keys for TLS
 *   session-settings.ts      the settings that statements depend on
 *   apply-settings.ts        makes every transaction begin with them
 *   server-facts.ts          what the start checks of a server before it trusts it
 *   signals.ts               whether signals (LISTEN) reach a connection
 *   pools.ts                 opens and closes the pools of one database
 *   orm-options.ts           the options of these pools
 *   pool-connections.ts      when a connection of a pool is closed, opened again and released
 *   pool-counts.ts           counts of a pool's statements and of their times
 *   silent-connections.ts    destroys a connection that does not answer
 *   management-turns.ts      which call of management gets a connection, and when
 *   folder-lock.ts           lets one process use the folder of the embedded database
 *   no-database-creation.ts  keeps the ORM from creating a database
 */
import pg from "pg";
import type { DatabaseConnection } from "../../lib/database-connection.ts";
import { applySettings } from "./apply-settings.ts";
import { Wire } from "./wire.ts";

/** The use of a connection; part of its name in pg_stat_activity. */
export type Purpose = "management" | "reads" | "changes" | "migrations";

/** Properties of all connections of one purpose. */
export interface Session {
  readonly purpose: Purpose;
  /** Timeout of connecting. */
  readonly connectMs: number;
  /** Timeout of a statement. */
  readonly statementTimeoutMs: number;
  /** How long a statement waits for a lock. Absent: as long as it may run. */
  readonly lockTimeoutMs?: number | undefined;
}

/** Fields that node-postgres fills from PG* variables if they are missing. */
interface FilledParameters {
  options: undefined;
  replication: undefined;
}

export class PostgresClient extends pg.Client {
  /** @param types parsers of columns, which a pool passes on */
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
      // The Wire does TLS itself. node-postgres must not start TLS, and must not read PGSSLMODE.
      ssl: false,
      sslnegotiation: "postgres",
      connection: new Wire(connection),
    } as pg.ClientConfig);
    const { connectionParameters } = this as unknown as { connectionParameters: FilledParameters };
    connectionParameters.options = undefined;
    connectionParameters.replication = undefined;
    // No startup parameters: a pooler refuses a parameter that it does not track for each client (ADR 23).
    applySettings(this, {
      statementTimeoutMs: session.statementTimeoutMs,
      lockTimeoutMs: session.lockTimeoutMs ?? 0,
      named: connection.settings,
      access: session.purpose === "reads" ? "read only" : "read write",
    });
  }

  /**
   * Whether the session is this client's own. Behind a pooler it is another client's next, and the pooler makes up the
   * number of the backend that it tells its client.
   */
  async ownsSession(): Promise<boolean> {
    const { rows } = await this.alone("select pg_backend_pid() as pid");
    return rows[0].pid === (this as unknown as { processID: number }).processID;
  }

  /**
   * Sends one statement as it is, without the settings. They would make it part of a transaction, and PostgreSQL
   * refuses some statements there.
   */
  alone(statement: string): Promise<pg.QueryResult> {
    const send = pg.Client.prototype.query as unknown as (text: string) => Promise<pg.QueryResult>;
    return send.call(this, statement);
  }
}

/** Options with which the ORM reaches the same server: its pool makes connections of the class in `driverOptions`. */
export function ormConnection(connection: DatabaseConnection, session: Session) {
  const { host, port, user, database } = connection;
  const Client = class extends PostgresClient {
    constructor({ types }: { types?: pg.CustomTypesConfig } = {}) {
      super(connection, session, types);
    }
  };
  // The pool uses this limit for the wait for a connection as well as for connecting.
  return { host, port, user, dbName: database, driverOptions: { Client, connectionTimeoutMillis: session.connectMs } };
}

/** Closes the socket without a message to the server, because a frozen server would not read it. */
export function destroy(client: PostgresClient): void {
  (client.connection as unknown as Wire).stream.destroy();
}

function applicationName({ applicationName }: DatabaseConnection, purpose: Purpose): string {
  return purpose === "management" ? applicationName : `${applicationName}-${purpose}`;
}

/** If the password were undefined, node-postgres would read PGPASSWORD and ~/.pgpass. */
function passwordOf({ password }: DatabaseConnection): string {
  if (password !== undefined) return password;
  throw Object.assign(new Error("PostgreSQL asks for a password, and DATABASE_URL has none"), { code: "28P01" });
}
