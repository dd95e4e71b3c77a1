/**
 * REDIS_URL and REDIS_CLUSTER_NODES: text -> where Redis is and how to log in. Only this file reads these texts, and
 * every connection is made from its result. All faults of a text come in one message, and none repeats a secret.
 *
 * The form follows the IANA registrations of `redis:` and `rediss:` strictly. Parts that they leave open or that other
 * parsers ignore, such as a second path segment or an unknown parameter, are faults here.
 */
import { isIP } from "node:net";
import { type Address, isLoopback } from "./values.ts";

/** How to log in. */
export interface RedisAccess {
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** One server, by TCP or by a socket file. */
export interface RedisServerAddress extends RedisAccess {
  readonly kind: "single";
  readonly at: Address | { readonly socket: string };
  readonly database: number;
}

/** The nodes by which a Redis Cluster is found. The login is the same for them and for the nodes found by them. */
export interface RedisClusterAddress extends RedisAccess {
  readonly kind: "cluster";
  readonly nodes: readonly Address[];
}

/** PEM files, read at each connect. */
export interface RedisTlsFiles {
  /** undefined = the authorities that Node.js knows. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** Where Redis is, how to log in, and with which certificates. */
export type RedisConfig = (RedisServerAddress | RedisClusterAddress) & { readonly tlsFiles: RedisTlsFiles };

/** The settings of Redis, as far as they could be read. */
interface RedisValues {
  readonly redisUrl?: RedisServerAddress | undefined;
  readonly redisCluster?: RedisClusterAddress | undefined;
  readonly redisCaFile?: string | undefined;
  readonly redisCertFile?: string | undefined;
  readonly redisKeyFile?: string | undefined;
}

const REDIS_PORT = 6379;
const MOST_PORT = 65_535;
/** The highest number of a database, because Redis keeps the number of its databases in an int. */
const MOST_DATABASE = 2_147_483_646;
/** Maximum bytes of a socket's path: the path in sockaddr_un on Linux without the final NUL. */
const MOST_SOCKET_BYTES = 107;
const PARTS = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/i;
const HOST_AND_PORT = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/;
const HOST_NAME = /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?$/i;
/** The form of a parameter's name. Any other text may be a piece of a password. */
const PARAMETER_NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,31}$/;

/**
 * Reads REDIS_URL: `redis://` or `rediss://[[user]:password@]host[:port][/database]`, or
 * `unix://[[user]:password@]/path[?db=database]`, or just the path of a socket.
 *
 * @throws Error with all faults
 */
export function redisUrl(value: string): RedisServerAddress {
  const faults: string[] = [];
  const address = serverOf(value.startsWith("/") ? `unix://${value}` : value, faults);
  if (address === undefined || faults.length > 0) throw new Error(faults.join("; "));
  return address;
}

/**
 * Reads REDIS_CLUSTER_NODES: `host:port` or URLs as of REDIS_URL without a database, comma-separated, with the same
 * protocol, user and password in each. The empty text is no cluster.
 *
 * @throws Error with all faults, each with the number of its node
 */
export function redisCluster(value: string): RedisClusterAddress | undefined {
  if (value === "") return undefined;
  const faults: string[] = [];
  const nodes = value.split(",").map((part, at) => {
    const ofNode: string[] = [];
    const node = nodeOf(part.trim(), ofNode);
    faults.push(...ofNode.map((fault) => `node ${at + 1}: ${fault}`));
    return node;
  });
  const [first] = nodes;
  const isSame = (node: ClusterNode | undefined) =>
    node?.tls === first?.tls && node?.username === first?.username && node?.password === first?.password;
  if (faults.length === 0 && !nodes.every(isSame)) {
    faults.push("must have the same protocol, user and password in each node");
  }
  if (first === undefined || faults.length > 0) throw new Error(faults.join("; "));
  const { tls, username, password } = first;
  const addresses = nodes.flatMap((node) => (node === undefined ? [] : [node.at]));
  return Object.freeze({ kind: "cluster", nodes: Object.freeze(addresses), tls, username, password });
}

/**
 * Faults of the TLS files. Without TLS a file would never be read, though its owner believes that the connection is
 * encrypted.
 */
export function redisTlsFaults(redis: RedisAccess | undefined, { ca, cert, key }: RedisTlsFiles): string[] {
  const faults: string[] = [];
  for (const [what, file] of Object.entries({ CA: ca, CERT: cert, KEY: key })) {
    if (file === undefined || redis?.tls) continue;
    faults.push(`LATCHKEY_REDIS_${what}_FILE: is for TLS; write rediss:// in REDIS_URL or REDIS_CLUSTER_NODES`);
  }
  if ((cert === undefined) !== (key === undefined)) {
    faults.push("LATCHKEY_REDIS_CERT_FILE and LATCHKEY_REDIS_KEY_FILE: set both or neither");
  }
  return faults;
}

/** A fault in production: a Redis without TLS that is neither on loopback nor a socket file. */
export function redisPlaintextFaults(redis: RedisConfig | undefined): string[] {
  if (redis === undefined || redis.tls) return [];
  const places = redis.kind === "cluster" ? redis.nodes : [redis.at];
  if (places.every((place) => "socket" in place || isLoopback(place.host))) return [];
  const name = redis.kind === "cluster" ? "REDIS_CLUSTER_NODES" : "REDIS_URL";
  return [
    `${name}: plaintext to a Redis that is neither on loopback nor a socket; write rediss://, or set LATCHKEY_ALLOW_PLAINTEXT_REDIS=true if the network to it is private`,
  ];
}

interface ClusterNode extends RedisAccess {
  readonly at: Address;
}

function nodeOf(value: string, faults: string[]): ClusterNode | undefined {
  if (!value.includes("://")) {
    const at = addressOf(value, undefined, faults);
    return at && { at, tls: false, username: undefined, password: undefined };
  }
  const server = serverOf(value, faults);
  if (server === undefined) return undefined;
  const { at, tls, username, password } = server;
  if ("socket" in at) faults.push("must be a host: a cluster has no socket file");
  if (/\d/.test(PARTS.exec(value)![3]!) || value.includes("?"))
    faults.push("must be without a path: a cluster has one database");
  return "socket" in at ? undefined : { at, tls, username, password };
}

/**
 * The server that the text names; undefined after a fault that makes the rest unreadable. Other faults are only noted.
 */
function serverOf(value: string, faults: string[]): RedisServerAddress | undefined {
  const [, scheme = "", authority = "", path = "", query, fragment] = PARTS.exec(value) ?? [];
  const protocol = scheme.toLowerCase();
  if (protocol !== "redis" && protocol !== "rediss" && protocol !== "unix") {
    faults.push("must be a URL that starts with redis://, rediss:// or unix://");
    return undefined;
  }
  if (/[\p{Cc}\s]/u.test(value))
    faults.push("must not have spaces or control characters; in a password write %20 for a space");
  if (fragment !== undefined) faults.push("must not have a #; in a password write %23");
  const access = { tls: protocol === "rediss", ...credentialsOf(authority, faults) };
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  const at = protocol === "unix" ? socketOf(host, path, faults) : addressOf(host, REDIS_PORT, faults);
  // If a password has a ? that is not encoded, a piece of it looks like a parameter's name.
  const mayBeSecret = faults.length > 0 || (query ?? "").includes("@");
  const inPath = protocol === "unix" ? undefined : databaseInPath(path, faults);
  const inQuery = databaseInQuery(query, mayBeSecret, faults);
  if (inPath !== undefined && inQuery !== undefined) faults.push("must name the database once, in the path or as db");
  return at && Object.freeze({ kind: "single", at: Object.freeze(at), database: inPath ?? inQuery ?? 0, ...access });
}

function credentialsOf(authority: string, faults: string[]): Omit<RedisAccess, "tls"> {
  const end = authority.lastIndexOf("@");
  if (end < 0) return { username: undefined, password: undefined };
  const [, user = "", password = ""] = /^([^:]*):?(.*)$/s.exec(authority.slice(0, end))!;
  if (password === "") faults.push("must have a password before the @, as in redis://user:password@host");
  const read = (text: string, what: string) => {
    if (text === "") return undefined;
    const decoded = percentDecoded(text);
    if (decoded === undefined) faults.push(`must percent-encode the ${what}: write %25 for a %`);
    return decoded;
  };
  return { username: read(user, "user"), password: read(password, "password") };
}

function addressOf(text: string, defaultPort: number | undefined, faults: string[]): Address | undefined {
  const [isAddress, v6, name = "", portText] = HOST_AND_PORT.exec(text) ?? [];
  const zoned = v6 === undefined ? undefined : percentDecoded(v6);
  const port = portText === undefined ? defaultPort : portOf(portText);
  const before = faults.length;
  if (isAddress === undefined || (v6 === undefined ? !HOST_NAME.test(name) : isIP(zoned ?? "") !== 6)) {
    const form = defaultPort === undefined ? "host:port" : "host or host:port";
    faults.push(
      `must be ${form} with one host, IPv6 in brackets; characters of a password that mean something in a URL are percent-encoded`,
    );
  } else if (port === undefined) {
    faults.push(`must be host:port with a port from 1 to ${MOST_PORT}`);
  }
  return faults.length > before ? undefined : { host: zoned ?? name, port: port! };
}

function portOf(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= MOST_PORT ? port : undefined;
}

function socketOf(host: string, path: string, faults: string[]): { readonly socket: string } | undefined {
  const socket = percentDecoded(path);
  const before = faults.length;
  if (host !== "") faults.push("must be unix:// and an absolute path, so unix:///run/redis/redis.sock, without a host");
  else if (socket === undefined || socket.endsWith("/") || socket === "" || socket.includes("\0")) {
    faults.push("must name the socket's file, as in unix:///run/redis/redis.sock");
  } else if (Buffer.byteLength(socket) > MOST_SOCKET_BYTES) {
    faults.push(`must name a socket whose path has at most ${MOST_SOCKET_BYTES} bytes`);
  }
  return faults.length > before ? undefined : { socket: socket! };
}

function databaseInPath(path: string, faults: string[]): number | undefined {
  if (path === "" || path === "/") return undefined;
  const database = databaseOf(path.slice(1));
  if (database === undefined) {
    faults.push(
      `must have nothing but the database's number as its path, from 0 to ${MOST_DATABASE}, as in redis://host/1`,
    );
  }
  return database;
}

/** The number of the database in the query. `db` is the only parameter. */
function databaseInQuery(query: string | undefined, mayBeSecret: boolean, faults: string[]): number | undefined {
  if (query === undefined) return undefined;
  let database: number | undefined;
  const seen = new Set<string>();
  for (const parameter of query.split("&")) {
    const [, name = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(parameter)!;
    if (name !== "db") {
      const told = mayBeSecret || !PARAMETER_NAME.test(name) ? "a parameter" : `the parameter ${name}`;
      faults.push(`must not have ${told}: db is the only one; in a password write %3F for a ?`);
      continue;
    }
    database = databaseOf(value);
    if (database === undefined) faults.push(`must have a number from 0 to ${MOST_DATABASE} as db`);
    if (seen.has(name)) faults.push("must name db once");
    seen.add(name);
  }
  return database;
}

function databaseOf(text: string): number | undefined {
  const database = /^(0|[1-9]\d{0,9})$/.test(text) ? Number(text) : Number.NaN;
  return database <= MOST_DATABASE ? database : undefined;
}

/** The decoded text; undefined if a % is not followed by two hexadecimal digits, or the bytes are not UTF-8. */
function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Where Redis is, by its settings; undefined without one. */
export function redisOf(values: RedisValues): RedisConfig | undefined {
  const address = values.redisUrl ?? values.redisCluster;
  return address && Object.freeze({ ...address, tlsFiles: redisTlsFiles(values) });
}

export function redisTlsFiles(values: RedisValues): RedisTlsFiles {
  return Object.freeze({ ca: values.redisCaFile, cert: values.redisCertFile, key: values.redisKeyFile });
}
