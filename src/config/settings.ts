import { DAY_MS } from "../lib/clock.ts";
import { databaseUrl } from "./database-url.ts";
import { proxyNetwork } from "./networks.ts";
import { redisCluster, redisUrl } from "./redis-url.ts";
import {
  address,
  bool,
  environments,
  integer,
  issuer,
  list,
  masterKeys,
  oneOf,
  origin,
  scopeGlob,
  seconds,
  text,
  tiers,
  word,
} from "./values.ts";

/**
 * One row of the configuration: how a variable is read, and what docs/CONFIG.md says of it. `parse` throws an Error that
 * says what is wanted; it never repeats the value of a secret.
 */
export interface Setting<T> {
  readonly name: string;
  /** As it would be written in the environment; undefined = no value. */
  readonly default: string | undefined;
  readonly parse: (text: string) => T;
  readonly doc: string;
}

/** Of a service on somebody's own machine. */
export const DEFAULT_ISSUER = "http://localhost:8080";

/** Every setting. docs/CONFIG.md is generated from it, in this order. */
export const SETTINGS = {
  production: setting(
    "NODE_ENV",
    "development",
    (value) => oneOf("development", "test", "production")(value) === "production",
    "`production` refuses every insecure default instead of warning of it. `test` is as `development`; other words are refused.",
  ),
  logLevel: setting(
    "LATCHKEY_LOG_LEVEL",
    "info",
    oneOf("debug", "info", "warn", "error", "silent"),
    "Least level of log lines.",
  ),
  logFormat: setting(
    "LATCHKEY_LOG_FORMAT",
    undefined,
    oneOf("json", "text"),
    "How log lines look. Without it: `text` in development, `json` in production.",
  ),
  listen: setting(
    "LATCHKEY_LISTEN",
    "127.0.0.1:8080",
    address,
    "Address of the service: gRPC, gRPC-Web and Connect. Port 0 takes a free one.",
  ),
  opsListen: setting(
    "LATCHKEY_OPS_LISTEN",
    "127.0.0.1:9464",
    address,
    "Address for operators: `/healthz` and `/metrics`. Port 0 takes a free one.",
  ),
  tlsCertFile: setting(
    "LATCHKEY_TLS_CERT_FILE",
    undefined,
    text,
    "PEM file with the certificate chain. With it and the key file the port speaks TLS as well. Both files are read again when they change, and at SIGHUP.",
  ),
  tlsKeyFile: setting("LATCHKEY_TLS_KEY_FILE", undefined, text, "PEM file with the certificate's private key."),
  allowPlaintext: setting(
    "LATCHKEY_ALLOW_PLAINTEXT",
    "false",
    bool,
    "In production: speak plaintext on an address that is not loopback, because something in front ends TLS, or beside TLS. In development plaintext is always spoken.",
  ),
  reflection: setting(
    "LATCHKEY_REFLECTION",
    "true",
    bool,
    "Serve gRPC reflection, so that grpcurl needs no .proto files.",
  ),
  corsOrigins: setting(
    "LATCHKEY_CORS_ORIGINS",
    "",
    list(origin),
    "Origins (comma-separated) whose browsers may call. Empty: no CORS.",
  ),
  trustedProxies: setting(
    "LATCHKEY_TRUSTED_PROXIES",
    "",
    list(proxyNetwork),
    "Networks (CIDR, comma-separated) of proxies that are believed when they say from whom a request comes. Empty: none. In production they must not name everyone.",
  ),
  forwardedHeader: setting(
    "LATCHKEY_FORWARDED_HEADER",
    undefined,
    oneOf("x-forwarded-for", "forwarded"),
    "The only header in which trusted proxies are believed; `forwarded` is that of RFC 7239. Without it either is read, and neither where both come and disagree.",
  ),
  drainMs: setting(
    "LATCHKEY_DRAIN_SECONDS",
    "10",
    seconds(0, 300),
    "After SIGTERM: how long calls in flight may take.",
  ),
  dataDir: setting("LATCHKEY_DATA_DIR", "./data", text, "Folder of the embedded database and of development secrets."),
  databaseUrl: setting(
    "DATABASE_URL",
    undefined,
    databaseUrl,
    "PostgreSQL (15 or newer), always the primary; its parameters are below. Without it the embedded database runs in the data folder.",
  ),
  databasePoolSize: setting(
    "LATCHKEY_DATABASE_POOL_SIZE",
    "10",
    integer(1, 1000),
    "Most connections to PostgreSQL for management calls, of which one caller has at most 4, and all anonymous calls 30 %; hot reads have 4 of their own.",
  ),
  allowEmbedded: setting(
    "LATCHKEY_ALLOW_EMBEDDED_DATABASE",
    "false",
    bool,
    "In production: run on the embedded database.",
  ),
  allowPlaintextDatabase: setting(
    "LATCHKEY_ALLOW_PLAINTEXT_DATABASE",
    "false",
    bool,
    "In production: reach a PostgreSQL on another machine without TLS, or with a `sslmode` that may fall back to none, because the network between is trusted.",
  ),
  migrate: setting("LATCHKEY_MIGRATE", "true", bool, "Apply migrations at the start, under a lock."),
  redisUrl: setting(
    "REDIS_URL",
    undefined,
    redisUrl,
    "Redis (6 or newer) for limits: `redis://user:password@host:port/database`, `rediss://` with TLS, or `unix:///path?db=database`. Only host or path is required; port 6379 and database 0 are the defaults. `db` is the only parameter, every other one is refused. Without REDIS_URL limits are counted in this process.",
  ),
  redisCluster: setting(
    "REDIS_CLUSTER_NODES",
    "",
    redisCluster,
    "Redis Cluster instead of REDIS_URL: host:port, comma-separated, or URLs (`rediss://user:password@host:port`) with the same protocol, user and password in each; they hold for the nodes that are found by these as well. With TLS each node must be known by the name in its certificate (`cluster-preferred-endpoint-type hostname`).",
  ),
  redisCaFile: setting(
    "LATCHKEY_REDIS_CA_FILE",
    undefined,
    text,
    "PEM file with the certificate authorities that Redis' certificate may come from. Without it: those that Node.js knows. With `rediss://` the certificate and its name are always verified.",
  ),
  redisCertFile: setting(
    "LATCHKEY_REDIS_CERT_FILE",
    undefined,
    text,
    "PEM file with a client certificate for Redis (`tls-auth-clients`). It and the two other files are read again at each connect.",
  ),
  redisKeyFile: setting(
    "LATCHKEY_REDIS_KEY_FILE",
    undefined,
    text,
    "PEM file with the client certificate's private key.",
  ),
  allowPlaintextRedis: setting(
    "LATCHKEY_ALLOW_PLAINTEXT_REDIS",
    "false",
    bool,
    "In production: speak plaintext with a Redis that is neither on loopback nor a socket file, because the way to it is private.",
  ),
  allowInProcessLimits: setting(
    "LATCHKEY_ALLOW_IN_PROCESS_LIMITS",
    "false",
    bool,
    "In production: count limits in this process.",
  ),
  masterKeys: setting(
    "LATCHKEY_MASTER_KEYS",
    undefined,
    masterKeys,
    "The master secrets: `version:base64` with at least 32 bytes each, comma-separated. The first makes, all verify; newer ones have higher versions. In development one is made in the data folder.",
  ),
  workers: setting("LATCHKEY_WORKERS", "1", integer(1, 256), "Processes on this machine that share the port."),
  replicas: setting(
    "LATCHKEY_REPLICAS",
    "1",
    integer(1, 10_000),
    "How many machines run the service; limits are divided by it while Redis is out of reach.",
  ),
  staleOkMs: setting(
    "LATCHKEY_STALE_OK_SECONDS",
    "60",
    seconds(0, 3600),
    "How long known keys are served beyond 5 s while PostgreSQL is out of reach. 0 = not at all.",
  ),
  cachedKeys: setting(
    "LATCHKEY_CACHED_KEYS",
    "100000",
    integer(1000, 10_000_000),
    "Most keys that a process keeps in memory, about 1 KiB each and 1.5 KiB times this number in all, which large scopes and metadata fill sooner; those used longest ago go first.",
  ),
  tiers: setting(
    "LATCHKEY_TIERS",
    "basic:20/1000,pro:60/5000,enterprise:300/50000",
    tiers,
    "Tiers from lowest to highest, `name:per-minute/per-day`; `-` for no limit. The first is everyone's.",
  ),
  keyPrefix: setting("LATCHKEY_KEY_PREFIX", "kit", word, "First word of every key."),
  environments: setting(
    "LATCHKEY_ENVIRONMENTS",
    "live,test",
    environments,
    "Second word of API keys; the first listed is the default.",
  ),
  keysPerOwner: setting(
    "LATCHKEY_KEYS_PER_OWNER",
    "100",
    integer(1, 1_000_000),
    "Most keys of one owner, live or ended within 24 h.",
  ),
  userScopes: setting(
    "LATCHKEY_USER_SCOPES",
    undefined,
    list(scopeGlob),
    "Globs of scopes that new users may give their keys. Without it: `*` in development, none in production.",
  ),
  auditKeepMs: setting(
    "LATCHKEY_AUDIT_DAYS",
    "400",
    (value) => integer(1, 36_500)(value) * DAY_MS,
    "How long audit events are kept.",
  ),
  registrationOpen: setting(
    "LATCHKEY_REGISTRATION",
    "open",
    (value) => oneOf("open", "closed")(value) === "open",
    "`open`: anyone may register. `closed`: operators create accounts.",
  ),
  hashesPerAddress: setting(
    "LATCHKEY_HASHES_PER_ADDRESS",
    "30",
    integer(1, 100_000),
    "Password hashes that one client address may cost in a minute, good passwords included; a /56 of IPv6 twice, a /48 or a /24 of IPv4 four times as many. More only where many people log in from behind one address.",
  ),
  changesPerMinute: setting(
    "LATCHKEY_CHANGES_PER_MINUTE",
    "600",
    integer(1, 1_000_000),
    "Calls that change something (a profile, a session, a key) which one session of a user may make in any minute. All sessions of the user together: twice that. Processes that share a Redis count together.",
  ),
  serviceChangesPerMinute: setting(
    "LATCHKEY_SERVICE_CHANGES_PER_MINUTE",
    "6000",
    integer(1, 1_000_000),
    "The same for one service credential. More for a credential that changes many keys at once.",
  ),
  passwordMin: setting(
    "LATCHKEY_PASSWORD_MIN_CODE_POINTS",
    "15",
    integer(8, 256),
    "Shortest password. NIST SP 800-63B-4 asks for 15 where the password is the only factor.",
  ),
  argon2MemoryKib: setting(
    "LATCHKEY_ARGON2_MEMORY_KIB",
    "19456",
    integer(1024, 4_194_304),
    "Memory of one password hash.",
  ),
  argon2Passes: setting("LATCHKEY_ARGON2_PASSES", "2", integer(1, 100), "Passes of one password hash."),
  issuer: setting(
    "LATCHKEY_ISSUER",
    DEFAULT_ISSUER,
    issuer,
    "`iss` of access tokens, compared by verifiers letter by letter. Production wants it set, to an https URL.",
  ),
  allowHttpIssuer: setting(
    "LATCHKEY_ALLOW_HTTP_ISSUER",
    "false",
    bool,
    "In production: an http issuer, because verifiers reach this service by it inside a private network.",
  ),
  audience: setting("LATCHKEY_AUDIENCE", "latchkey", text, "`aud` of access tokens."),
  accessTokenAlgorithm: setting(
    "LATCHKEY_ACCESS_TOKEN_ALGORITHM",
    "EdDSA",
    oneOf("EdDSA", "ES256"),
    "Algorithm of new signing keys.",
  ),
  signingKeyMs: setting(
    "LATCHKEY_SIGNING_KEY_DAYS",
    "90",
    (value) => integer(1, 3650)(value) * DAY_MS,
    "A key that has signed access tokens for so long is replaced by itself.",
  ),
  accessTokenMs: setting("LATCHKEY_ACCESS_TOKEN_SECONDS", "1800", seconds(60, 86_400), "Life of an access token."),
  refreshIdleMs: setting(
    "LATCHKEY_REFRESH_IDLE_SECONDS",
    "604800",
    seconds(60, 31_536_000),
    "A session ends after so long without a refresh.",
  ),
  refreshAbsoluteMs: setting(
    "LATCHKEY_REFRESH_ABSOLUTE_SECONDS",
    "2592000",
    seconds(60, 31_536_000),
    "A session ends so long after the login.",
  ),
  refreshGraceMs: setting(
    "LATCHKEY_REFRESH_GRACE_SECONDS",
    "10",
    seconds(0, 300),
    "How long the refresh token just replaced still returns its successor.",
  ),
} as const;

function setting<T>(name: string, fallback: string | undefined, parse: (text: string) => T, doc: string): Setting<T> {
  return { name, default: fallback, parse, doc };
}
