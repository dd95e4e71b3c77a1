/** A PostgreSQL with TLS, roles that must connect in different ways, and certificates for several names. */
import { databaseUrl } from "../../src/config/database-url.ts";
import { PostgresClient } from "../../src/postgres/connections/connection.ts";
import { type Authority, type Identity, newAuthority } from "./certificate-authority.ts";
import { type PostgresServer, sql, startPostgres } from "./own-postgres.ts";
import { until } from "./until.ts";

/** Role -> its lines of pg_hba.conf, which are the only ones that admit it. */
const ACCESS = {
  any_role: ["host all any_role all password", "local all any_role password"],
  tls_role: ["hostssl all tls_role all password", "hostnossl all tls_role all reject"],
  plain_role: ["hostnossl all plain_role all password", "hostssl all plain_role all reject"],
  cert_role: ["hostssl all cert_role all cert", "hostnossl all cert_role all reject"],
} as const;

/** Certificate -> common name and alternative names. */
const CERTIFICATES = {
  localhost: ["unimportant", "DNS:localhost"],
  wildcard: ["unimportant", "DNS:*.localhost"],
  elsewhere: ["localhost", "DNS:db.example.com"],
  commonName: ["localhost"],
  address: ["unimportant", "IP:127.0.0.1"],
  addressAsName: ["unimportant", "DNS:127.0.0.1"],
  addressAsCommonName: ["127.0.0.1"],
} as const satisfies Record<string, readonly [commonName: string, ...names: string[]]>;

export type Role = keyof typeof ACCESS;
export type CertificateName = keyof typeof CERTIFICATES;

export const ROLE_PASSWORD = "pass-of-a-role";

export interface TlsPostgres extends AsyncDisposable {
  readonly server: PostgresServer;
  /** The authority of the server's certificates and of the clients that the server admits. */
  readonly authority: Authority;
  /** Another authority, which the server does not trust. */
  readonly stranger: Authority;
  /** A client's certificate for the role `cert_role`. */
  readonly client: Identity;
  /** @param query without the question mark */
  url(role: Role, query: string, place?: { host?: string; port?: number; database?: string }): string;
  /** Serves this certificate on new connections from now on. */
  show(certificate: CertificateName, signedBy?: "authority" | "stranger"): Promise<void>;
}

export async function startTlsPostgres(): Promise<TlsPostgres> {
  const [authority, stranger] = [newAuthority("authority"), newAuthority("stranger")];
  const issuers = { authority, stranger };
  const first = authority.issue("unimportant", ["DNS:localhost"]);
  const files = { "clients.pem": authority.cert, "server.crt": first.cert, "server.key": first.key };
  for (const [issuer, { issue }] of Object.entries(issuers)) {
    for (const [name, [commonName, ...names]] of Object.entries(CERTIFICATES)) {
      const { cert, key } = issue(commonName, names);
      Object.assign(files, { [`${issuer}-${name}.pem`]: cert, [`${issuer}-${name}.key`]: key });
    }
  }
  const server = await startPostgres({
    access: Object.values(ACCESS).flat(),
    files,
    settings: {
      ssl: "on",
      ssl_ca_file: "clients.pem",
      listen_addresses: "127.0.0.1,::1",
      log_connections: "on",
      log_line_prefix: "%a|%u|",
    },
  });
  const show: TlsPostgres["show"] = async (certificate, signedBy = "authority") => {
    const name = `${signedBy}-${certificate}`;
    await server.sql(`alter system set ssl_cert_file = '${name}.pem'`);
    await server.sql(`alter system set ssl_key_file = '${name}.key'`);
    await server.sql("select pg_reload_conf()");
    await until(async () => (await server.sql("show ssl_cert_file")) === `${name}.pem`, `the server shows ${name}`);
  };
  for (const role of Object.keys(ACCESS)) {
    await server.sql(`create role ${role} login password '${ROLE_PASSWORD}'; grant all on schema public to ${role}`);
  }
  const url: TlsPostgres["url"] = (role, query, { host = "localhost", port = server.port, database } = {}) =>
    `postgres://${role}:${ROLE_PASSWORD}@${host}:${port}/${database ?? "postgres"}${query && `?${query}`}`;
  return {
    server,
    authority,
    stranger,
    client: authority.issue("cert_role"),
    url,
    show,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

export type Outcome = "TLS" | "plaintext" | "refused";

const IS_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/** The outcome of a connection of the service to the server. */
export async function ourOutcome(url: string): Promise<Outcome> {
  const client = new PostgresClient(databaseUrl(url), {
    purpose: "management",
    connectMs: 10_000,
    statementTimeoutMs: 10_000,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ ssl: boolean }>(IS_TLS);
    return rows[0]!.ssl ? "TLS" : "plaintext";
  } catch {
    return "refused";
  } finally {
    await client.end();
  }
}

/** The outcome of a connection of libpq, without files of a home folder. */
export async function libpqOutcome(url: string): Promise<Outcome> {
  try {
    return (await sql(url, IS_TLS)) === "t" ? "TLS" : "plaintext";
  } catch {
    return "refused";
  }
}
