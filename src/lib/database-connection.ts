/** How PostgreSQL is reached: what DATABASE_URL says, in domain units. Every connection is made from one of these. */

/** The six modes of libpq, from no TLS at all to a server whose certificate and name are checked. */
export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/** As rootCertificate: the authorities of the machine. They vouch for anyone's server, so the host name must be checked. */
export const SYSTEM_ROOTS = "system";

const SEARCH_PATH = "search_path";

export interface DatabaseConnection {
  /** A name, or an address without brackets; the folder of the socket where it starts with `/`. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Not enumerable, so that no copy, JSON or inspection shows it. undefined = none. */
  readonly password: string | undefined;
  readonly database: string;
  readonly sslMode: SslMode;
  /** PEM file with the trusted authorities, `system` for those of the machine, undefined for no check. */
  readonly rootCertificate: string | undefined;
  /** PEM files that a client certificate is in, and its private key. */
  readonly clientCertificate: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** First part of the name that each connection shows in pg_stat_activity. */
  readonly applicationName: string;
  /** Settings that every session starts with, in order: name, then value. */
  readonly settings: readonly (readonly [name: string, value: string])[];
}

/** Whether the connection is a socket of this machine, over which PostgreSQL speaks no TLS. */
export function isSocket({ host }: Pick<DatabaseConnection, "host">): boolean {
  return host.startsWith("/");
}

/** Where it leads, in words: without user and password. */
export function placeOf({ host, port, database }: DatabaseConnection): string {
  const server = isSocket({ host }) ? `${host}/.s.PGSQL.${port}` : `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `${server}/${database}`;
}

/** The same way, with names looked up in these schemas alone; temporary tables are never taken for the service's. */
export function inSchemas(connection: DatabaseConnection, ...schemas: readonly string[]): DatabaseConnection {
  const searchPath = [...schemas.map((schema) => `"${schema.replaceAll('"', '""')}"`), "pg_temp"].join(", ");
  const others = connection.settings.filter(([name]) => name !== SEARCH_PATH);
  const pinned = { ...connection, settings: Object.freeze([...others, [SEARCH_PATH, searchPath] as const]) };
  Object.defineProperty(pinned, "password", { value: connection.password, enumerable: false });
  return Object.freeze(pinned);
}

/** Whether DATABASE_URL itself says where names are looked up. */
export function namesSchema({ settings }: Pick<DatabaseConnection, "settings">): boolean {
  return settings.some(([name]) => name === SEARCH_PATH);
}
