/** The parsed DATABASE_URL, in domain units. Every connection to PostgreSQL is made from one of these. */

/** The six modes of libpq, from no TLS at all to TLS with a verified certificate and host name. */
export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/**
 * The value of `rootCertificate` that means the machine's own authorities. They issue certificates to anyone, so the
 * host name must be verified too.
 */
export const SYSTEM_ROOTS = "system";

const SEARCH_PATH = "search_path";

export interface DatabaseConnection {
  /** A host name, or an address without brackets; the folder of the socket if it starts with `/`. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Not enumerable, so that no copy, JSON or inspection shows it. undefined = none. */
  readonly password: string | undefined;
  readonly database: string;
  readonly sslMode: SslMode;
  /** PEM file with the trusted authorities, `system` for those of the machine, undefined for no verification. */
  readonly rootCertificate: string | undefined;
  /** PEM files with the client certificate and its private key. */
  readonly clientCertificate: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** First part of the name of each connection in pg_stat_activity. */
  readonly applicationName: string;
  /** Settings that every session starts with, in order: name, then value. */
  readonly settings: readonly (readonly [name: string, value: string])[];
}

/** Whether the connection uses a Unix socket of this machine, over which PostgreSQL has no TLS. */
export function isSocket({ host }: Pick<DatabaseConnection, "host">): boolean {
  return host.startsWith("/");
}

/** The server and database in words, without user and password. */
export function placeOf({ host, port, database }: DatabaseConnection): string {
  const server = isSocket({ host }) ? `${host}/.s.PGSQL.${port}` : `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `${server}/${database}`;
}

/**
 * The same connection, whose sessions look up names only in these schemas. `pg_temp` comes last, so that a temporary
 * table never hides a table of the service.
 */
export function inSchemas(connection: DatabaseConnection, ...schemas: readonly string[]): DatabaseConnection {
  const searchPath = [...schemas.map((schema) => `"${schema.replaceAll('"', '""')}"`), "pg_temp"].join(", ");
  const others = connection.settings.filter(([name]) => name !== SEARCH_PATH);
  const pinned = { ...connection, settings: Object.freeze([...others, [SEARCH_PATH, searchPath] as const]) };
  Object.defineProperty(pinned, "password", { value: connection.password, enumerable: false });
  return Object.freeze(pinned);
}

/** Whether DATABASE_URL itself sets the search path. */
export function namesSchema({ settings }: Pick<DatabaseConnection, "settings">): boolean {
  return settings.some(([name]) => name === SEARCH_PATH);
}
