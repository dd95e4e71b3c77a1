/**
 * DATABASE_URL -> DatabaseConnection, as libpq reads a connection URI (PostgreSQL, 34.1.1.2). libpq's defaults that
 * depend on the machine do not apply: PG* variables, the user of the system, files in the home folder. A parameter has
 * the meaning that libpq gives it, or is refused by name. No fault repeats a value, because any part may be a secret in
 * the wrong place.
 */
import { isIP } from "node:net";
import { type DatabaseConnection, isSocket, type SslMode, SYSTEM_ROOTS } from "../lib/database-connection.ts";
import { isLoopback, ValueFaults } from "./values.ts";

const SCHEME = /^postgres(ql)?:\/\//;
const DEFAULT_PORT = 5432;
const SEVERAL_HOSTS = "names several hosts; name one that always leads to the primary";
/** Every mode, with its text in docs/CONFIG.md. */
export const SSL_MODES: Readonly<Record<SslMode, string>> = {
  disable: "plaintext",
  allow: "plaintext; TLS if the server refuses plaintext",
  prefer: "TLS; plaintext if the server offers no TLS, refuses it, or the handshake fails. It stops no attacker",
  require:
    "TLS, or no connection. Without `sslrootcert` the server's certificate is not checked; with it, as by `verify-ca`",
  "verify-ca": "TLS with a certificate of `sslrootcert`, for any host name",
  "verify-full": "TLS with a certificate of `sslrootcert` for this host. The mode to use across a network",
};
const APPLICATION_NAME = "latchkey";
/** PostgreSQL cuts names at 63 bytes, and `-migrations` is appended. */
const MAX_APPLICATION_NAME = 52;

/** Every supported parameter, with its text in docs/CONFIG.md. */
export const DATABASE_PARAMETERS = {
  host: "Host name or address, instead of the one before the path. With a leading `/` it is the folder of a Unix socket.",
  port: "Port, instead of the one before the path. Default 5432. It is also part of a socket's file name.",
  user: "Role, instead of the one before the `@`. There is no default.",
  password: "Password, instead of the one before the `@`.",
  dbname: "Database, instead of the path. Default: the name of the role.",
  sslmode:
    "`disable`, `allow`, `prefer` (the default), `require`, `verify-ca` or `verify-full`; see below. A socket never has TLS.",
  sslrootcert:
    "PEM file with the authorities that may sign the server's certificate, or `system` for those of the machine, which needs `verify-full` and makes it the default.",
  sslcert: "PEM file with the client's certificate (chain). Needs `sslkey`.",
  sslkey: "PEM file with the private key of `sslcert`, not encrypted.",
  application_name:
    "Replaces `latchkey` in the names of the connections: NAME, NAME-reads, NAME-changes and NAME-migrations.",
  options: "Settings of each session, as `-c name=value` or `--name=value`: `search_path` and `role`.",
} as const;

/** Parameters that other libraries and services write into their URLs, and what to do instead. */
const INSTEAD: Readonly<Record<string, string>> = {
  hostaddr: "name the address as host",
  schema: "write options=-c%20search_path=NAME instead",
  currentschema: "write options=-c%20search_path=NAME instead",
  search_path: "write options=-c%20search_path=NAME instead",
  uselibpqcompat: "remove it: sslmode has the meaning of libpq",
  connect_timeout: "remove it: connecting takes at most 5 s",
  target_session_attrs: "remove it and name the primary: a standby is refused in any case",
  load_balance_hosts: "remove it and name the primary",
  channel_binding: "remove it; sslmode=verify-full proves the server",
  pgbouncer: "remove it",
  connection_limit: "set LATCHKEY_DATABASE_POOL_SIZE",
  pool_max_conns: "set LATCHKEY_DATABASE_POOL_SIZE",
  passfile: "write the password into the URL",
  service: "write host, user and database into the URL",
};

/**
 * Settings that `options` may carry: they mean the same on every connection, and the service itself never sets them.
 */
const SESSION_SETTINGS: readonly string[] = ["search_path", "role"];

const FAULTY = "faulty";

type Parameters = ReadonlyMap<string, string>;

/**
 * The parts of the URL, decoded. A part with a fault is `FAULTY`, so that it is not also reported as missing.
 * Parameters of the query override the parts before it, as in libpq.
 */
interface Parts {
  readonly host: string;
  readonly port: string;
  readonly user: string;
  readonly password: string | undefined;
  readonly database: string;
  readonly query: Parameters;
}

/** @throws {ValueFaults} with every fault at once */
export function databaseUrl(text: string): DatabaseConnection {
  const faults: string[] = [];
  const parts = partsOf(text, faults);
  if (parts === undefined) throw new ValueFaults(faults);
  const connection = connectionOf(parts, faults);
  if (faults.length > 0) throw new ValueFaults([...new Set(faults)]);
  return connection;
}

/** Whether queries may cross a network without TLS. */
export function mayBePlaintext(database: DatabaseConnection | undefined): boolean {
  if (database === undefined || isOnThisMachine(database)) return false;
  return ["disable", "allow", "prefer"].includes(database.sslMode);
}

/** Settings that work but protect less than they seem to. */
export function warningsOfDatabase(database: DatabaseConnection | undefined): string[] {
  if (database?.sslMode !== "require" || database.rootCertificate !== undefined || isOnThisMachine(database)) return [];
  return [
    "DATABASE_URL: sslmode=require without sslrootcert encrypts but does not check the server; set sslmode=verify-full",
  ];
}

function isOnThisMachine(database: DatabaseConnection): boolean {
  return isSocket(database) || isLoopback(database.host);
}

/** A variable that the ORM sets by itself, and that child processes inherit. It colours a log that stays empty. */
const OWN_ORM_VARIABLE = "MIKRO_ORM_COLORS";

/**
 * Faults for variables that would configure the ORM behind our back: another schema, SQL on standard output. The ORM
 * has no option that turns them off.
 */
export function ormVariableFaults(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith("MIKRO_ORM_") && name !== OWN_ORM_VARIABLE)
    .map((name) => `${name}: would change how the database is used; unset it`);
}

/** The parts of the text; undefined if it is so far from a URL that further faults would mean nothing. */
function partsOf(text: string, faults: string[]): Parts | undefined {
  if (!SCHEME.test(text)) {
    faults.push("must be a URL that starts with postgres:// or postgresql://");
    return undefined;
  }
  // Other parsers end a part of a URL at these characters, and would connect to another server.
  if (/[\s\p{Cc}#\\]/u.test(text)) {
    faults.push("has a space, a backslash or a #; percent-encode them as %20, %5C and %23");
    return undefined;
  }
  const rest = text.replace(SCHEME, "");
  // As in libpq: user and password end at the first @, if that is before the first slash.
  const [, userInfo, server = "", path, query] = /^(?:([^@/]*)@)?([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(rest)!;
  if (userInfo?.includes("?") || [server, path, query].some((part) => part?.includes("@"))) {
    faults.push("has an @ after the host or a ? before it; percent-encode @ as %40, / as %2F, : as %3A and ? as %3F");
    return undefined;
  }
  const [user = "", ...password] = userInfo?.split(":") ?? [];
  const decode = (value: string | undefined, what: string) => decoded(value ?? "", what, faults);
  return {
    ...serverOf(server, faults),
    user: decode(user, "user"),
    password: password.length === 0 ? undefined : decode(password.join(":"), "password"),
    database: decode(path, "database"),
    query: queryOf(query, faults),
  };
}

function serverOf(text: string, faults: string[]): Pick<Parts, "host" | "port"> {
  if (text.includes(",")) {
    faults.push(SEVERAL_HOSTS);
    return { host: FAULTY, port: "" };
  }
  const brackets = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (brackets !== null || /[[\]]/.test(text)) {
    const host = decoded(brackets?.[1] ?? "", "host", faults);
    if (isIP(host) === 6) return { host, port: brackets?.[2] ?? "" };
    faults.push("has brackets without an IPv6 address in them, such as [::1]:5432");
    return { host: FAULTY, port: "" };
  }
  const [host = "", ...port] = text.split(":");
  if (port.length > 1) {
    faults.push("has more than one : after the host; write an IPv6 address in brackets");
    return { host: FAULTY, port: "" };
  }
  return { host: decoded(host, "host", faults), port: port[0] ?? "" };
}

function queryOf(text: string | undefined, faults: string[]): Parameters {
  const parameters = new Map<string, string>();
  for (const part of text?.split("&") ?? []) {
    if (part === "") continue;
    const [name = "", ...value] = part.split("=");
    const key = /^[\w.-]{1,40}$/.test(name) ? name : "a parameter";
    if (value.length === 0) faults.push(`${key} must be written as name=value`);
    else if (parameters.has(name)) faults.push(`${key} is given twice`);
    else if (!Object.hasOwn(DATABASE_PARAMETERS, name) && name !== "ssl") faults.push(unsupported(name, key));
    else parameters.set(name, decoded(value.join("="), name, faults));
  }
  return parameters;
}

function unsupported(name: string, key: string): string {
  const known = name.toLowerCase();
  const instead = Object.hasOwn(INSTEAD, known) ? INSTEAD[known] : "remove it";
  const supported = Object.keys(DATABASE_PARAMETERS).join(", ");
  return `${key} is not supported: ${instead} (supported: ${supported})`;
}

/** Decodes percent-encoding; `+` stays `+`, as in libpq. */
function decoded(text: string, what: string, faults: string[]): string {
  try {
    const value = decodeURIComponent(text);
    if (/\p{Cc}/u.test(value)) throw new Error("control characters");
    return value;
  } catch {
    faults.push(`${what} is not percent-encoded UTF-8 without control characters; write % as %25`);
    return FAULTY;
  }
}

function connectionOf({ query, ...parts }: Parts, faults: string[]): DatabaseConnection {
  const user = query.get("user") ?? parts.user;
  if (user === "") faults.push("names no user; write postgres://USER:PASSWORD@HOST/DATABASE");
  const certFile = query.get("sslcert");
  const keyFile = query.get("sslkey");
  if ((certFile === undefined) !== (keyFile === undefined)) faults.push("sslcert and sslkey: give both or neither");
  for (const name of ["sslcert", "sslkey", "sslrootcert"]) {
    if (query.get(name) === "") faults.push(`${name} must name a file`);
  }
  const connection = {
    host: hostOf(query.get("host") ?? parts.host, faults),
    port: portOf(query.get("port") ?? parts.port, faults),
    user,
    database: (query.get("dbname") ?? parts.database) || user,
    sslMode: sslModeOf(query, faults),
    rootCertificate: query.get("sslrootcert"),
    clientCertificate: certFile && keyFile ? Object.freeze({ certFile, keyFile }) : undefined,
    applicationName: applicationNameOf(query.get("application_name"), faults),
    settings: Object.freeze(settingsOf(query.get("options") ?? "", faults)),
  };
  const password = (query.get("password") ?? parts.password) || undefined;
  Object.defineProperty(connection, "password", { value: password, enumerable: false });
  return Object.freeze(connection as typeof connection & { readonly password: string | undefined });
}

function hostOf(host: string, faults: string[]): string {
  if (host === "") faults.push("names no host; name one, or the folder of a socket as ?host=/var/run/postgresql");
  if (host.includes(",")) faults.push(SEVERAL_HOSTS);
  if (host.startsWith("@")) faults.push("names an abstract socket; name the folder of a socket");
  else if (!host.startsWith("/") && /[/\\\s]/.test(host)) faults.push("has a host that is neither a name nor a folder");
  return host;
}

function portOf(text: string, faults: string[]): number {
  if (text === "") return DEFAULT_PORT;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) faults.push("has a port that is not a number from 1 to 65535");
  return port;
}

function sslModeOf(query: Parameters, faults: string[]): SslMode {
  const usesSystemRoots = query.get("sslrootcert") === SYSTEM_ROOTS;
  // libpq accepts ssl=true, the form of JDBC, and no other value.
  if (query.has("ssl") && query.get("ssl") !== "true") faults.push("ssl is not supported: write sslmode instead");
  if (query.has("ssl") && query.has("sslmode")) faults.push("ssl and sslmode: give sslmode alone");
  const given = query.get("sslmode") ?? (query.has("ssl") ? "require" : undefined);
  const mode = given ?? (usesSystemRoots ? "verify-full" : "prefer");
  if (!Object.hasOwn(SSL_MODES, mode)) {
    const instead = mode === "no-verify" ? "; require does not verify" : "";
    faults.push(`sslmode must be one of ${Object.keys(SSL_MODES).join(", ")}${instead}`);
  } else if (usesSystemRoots && mode !== "verify-full") {
    faults.push("sslrootcert=system needs sslmode=verify-full: anyone can get a certificate of such an authority");
  } else if (mode.startsWith("verify-") && !query.has("sslrootcert")) {
    faults.push(`sslmode=${mode} needs sslrootcert: the PEM file of the authority, or system for those of the machine`);
  }
  return mode as SslMode;
}

function applicationNameOf(name: string | undefined, faults: string[]): string {
  if (!name) return APPLICATION_NAME;
  if (!/^[\x20-\x7e]+$/.test(name) || name.length > MAX_APPLICATION_NAME) {
    faults.push(`application_name must be at most ${MAX_APPLICATION_NAME} ASCII characters`);
  }
  return name;
}

/** Splits the options as the server does: at spaces, except after a backslash. */
function settingsOf(text: string, faults: string[]): (readonly [string, string])[] {
  const words = [...text.matchAll(/(?:\\.|[^\s\\])+/g)].map(([word]) => word.replace(/\\(.)/g, "$1"));
  const settings: (readonly [string, string])[] = [];
  while (words.length > 0) {
    const word = words.shift()!;
    const given = word === "-c" ? (words.shift() ?? "") : /^(?:-c|--)(.+)$/.exec(word)?.[1];
    const [, name, value] = /^([A-Za-z_][\w-]*)=(.*)$/.exec(given ?? "") ?? [];
    if (name === undefined) {
      faults.push("options must be -c name=value or --name=value, with a space as %20 between them");
      continue;
    }
    const setting = name.replaceAll("-", "_").toLowerCase();
    if (SESSION_SETTINGS.includes(setting)) settings.push(Object.freeze([setting, value!] as const));
    else faults.push(`options may set ${SESSION_SETTINGS.join(" and ")}, but not ${setting}: remove it`);
  }
  return settings;
}
