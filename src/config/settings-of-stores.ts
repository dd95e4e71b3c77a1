import { databaseUrl } from "./database-url.ts";
import { redisCluster, redisUrl } from "./redis-url.ts";
import { setting } from "./setting.ts";
import { bool, integer, seconds, text } from "./values.ts";

export const POSTGRES = {
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
    "Maximum connections to PostgreSQL for management calls. One caller gets at most 4 of them, and all anonymous calls together 30 %. Hot reads have 4 more connections of their own.",
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
    "In production: connect to a PostgreSQL on another machine without TLS, or with a `sslmode` that may fall back to plaintext, because the network between them is trusted.",
  ),
  migrate: setting(
    "LATCHKEY_MIGRATE",
    "true",
    bool,
    "Apply migrations at the start, under a lock. If false, a start refuses a schema that lacks one, and `npm run migrate` applies it.",
  ),
  staleOkMs: setting(
    "LATCHKEY_STALE_OK_SECONDS",
    "60",
    seconds(0, 3600),
    "While PostgreSQL is unreachable: how much older than 5 s a key's record in memory may be when it is served. 0 = not at all.",
  ),
} as const;

export const REDIS = {
  redisUrl: setting(
    "REDIS_URL",
    undefined,
    redisUrl,
    "Redis (6 or newer) for limits: `redis://user:password@host:port/database`, `rediss://` with TLS, or `unix:///path?db=database`. Only host or path is required; port 6379 and database 0 are the defaults. `db` is the only parameter, every other one is refused. Without REDIS_URL each process counts limits by itself.",
  ),
  redisCluster: setting(
    "REDIS_CLUSTER_NODES",
    "",
    redisCluster,
    "Redis Cluster instead of REDIS_URL: host:port, comma-separated, or URLs (`rediss://user:password@host:port`) with the same protocol, user and password in each. Protocol, user and password hold for the cluster's other nodes too. With TLS each node must be known by the name in its certificate (`cluster-preferred-endpoint-type hostname`).",
  ),
  redisCaFile: setting(
    "LATCHKEY_REDIS_CA_FILE",
    undefined,
    text,
    "PEM file with the certificate authorities that may have signed Redis' certificate. Without it: those that Node.js knows. With `rediss://` the certificate and its name are always verified.",
  ),
  redisCertFile: setting(
    "LATCHKEY_REDIS_CERT_FILE",
    undefined,
    text,
    "PEM file with a client certificate for Redis (`tls-auth-clients`). The service reads it and the two other files again at each connect.",
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
    "In production: speak plaintext with a Redis that is neither on loopback nor a socket file, because the network to it is private.",
  ),
  allowInProcessLimits: setting(
    "LATCHKEY_ALLOW_IN_PROCESS_LIMITS",
    "false",
    bool,
    "In production: count limits in this process.",
  ),
} as const;
