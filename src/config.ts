import { isIP } from "node:net";
import type { MasterKey } from "./lib/key-ring.ts";
import type { LogLevel } from "./lib/log.ts";

/** One tier of service and the limits of its keys. */
export interface Tier {
  readonly name: string;
  /** undefined = no such limit, 0 = nothing allowed. */
  readonly perMinute: number | undefined;
  readonly perDay: number | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The service's configuration in domain units: frozen, complete, checked. */
export interface Config {
  readonly production: boolean;
  readonly logLevel: LogLevel;
  readonly listen: Address;
  readonly opsListen: Address;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly reflection: boolean;
  readonly corsOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly drainMs: number;
  readonly dataDir: string;
  /** undefined = the embedded database in dataDir. */
  readonly databaseUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly migrate: boolean;
  /** undefined = windows in this process. */
  readonly redis:
    | { readonly kind: "single"; readonly url: string }
    | { readonly kind: "cluster"; readonly nodes: readonly Address[] }
    | undefined;
  /** undefined = made once and kept in dataDir (development only). */
  readonly masterKeys: readonly [MasterKey, ...MasterKey[]] | undefined;
  readonly workers: number;
  readonly replicas: number;
  readonly staleOkMs: number;
  readonly tiers: readonly [Tier, ...Tier[]];
  readonly keyPrefix: string;
  readonly environments: readonly [string, ...string[]];
  readonly keysPerOwner: number;
  readonly userScopes: readonly string[];
  readonly registrationOpen: boolean;
  readonly password: { readonly minCodePoints: number; readonly memoryKib: number; readonly passes: number };
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenAlgorithm: "EdDSA" | "ES256";
  readonly accessTokenMs: number;
  readonly refreshIdleMs: number;
  readonly refreshAbsoluteMs: number;
  readonly refreshGraceMs: number;
  /** Things that are fine on a laptop and not in production; one log line each. */
  readonly developmentWarnings: readonly string[];
}

/** All that is wrong with an environment, one line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

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

const WORD = /^[a-z][a-z0-9]{0,15}$/;
const RESERVED_WORDS = new Set(["svc", "ref"]);
/** OWASP Password Storage Cheat Sheet: argon2id with 19 MiB and two passes is the least. */
const ARGON2_FLOOR = { memoryKib: 19_456, passes: 2 };

/** Every setting. The order is that of docs/CONFIG.md. */
export const SETTINGS = {
  production: setting(
    "NODE_ENV",
    "development",
    (text) => text === "production",
    "`production` refuses every insecure default instead of warning of it.",
  ),
  logLevel: setting(
    "LATCHKEY_LOG_LEVEL",
    "info",
    oneOf("debug", "info", "warn", "error", "silent"),
    "Least level of log lines.",
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
    "PEM file with the certificate chain. With it and the key file the port speaks TLS as well.",
  ),
  tlsKeyFile: setting("LATCHKEY_TLS_KEY_FILE", undefined, text, "PEM file with the certificate's private key."),
  allowPlaintext: setting(
    "LATCHKEY_ALLOW_PLAINTEXT",
    "false",
    bool,
    "In production: listen without TLS on an address that is not loopback, because something in front ends TLS.",
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
    list(cidr),
    "Networks (CIDR, comma-separated) whose `x-forwarded-for` is believed. Empty: none.",
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
    url("postgres:", "postgresql:"),
    "PostgreSQL (15 or newer), always the primary. Without it the embedded database runs in the data folder.",
  ),
  databasePoolSize: setting(
    "LATCHKEY_DATABASE_POOL_SIZE",
    "10",
    integer(1, 1000),
    "Most connections to PostgreSQL for management calls; hot reads have 4 of their own.",
  ),
  allowEmbedded: setting(
    "LATCHKEY_ALLOW_EMBEDDED_DATABASE",
    "false",
    bool,
    "In production: run on the embedded database.",
  ),
  migrate: setting("LATCHKEY_MIGRATE", "true", bool, "Apply migrations at the start, under a lock."),
  redisUrl: setting(
    "REDIS_URL",
    undefined,
    url("redis:", "rediss:"),
    "Redis for limits. Without it limits are counted in this process.",
  ),
  redisClusterNodes: setting(
    "REDIS_CLUSTER_NODES",
    "",
    list(address),
    "Redis Cluster instead of REDIS_URL: host:port, comma-separated.",
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
    "The master secrets: `version:base64` with at least 32 bytes each, comma-separated. The first makes, all verify. In development one is made in the data folder.",
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
  registrationOpen: setting(
    "LATCHKEY_REGISTRATION",
    "open",
    (value) => oneOf("open", "closed")(value) === "open",
    "`open`: anyone may register. `closed`: operators create accounts.",
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
  argon2Passes: setting("LATCHKEY_ARGON2_PASSES", "2", integer(2, 100), "Passes of one password hash."),
  issuer: setting("LATCHKEY_ISSUER", "http://localhost:8080", url("http:", "https:"), "`iss` of access tokens."),
  audience: setting("LATCHKEY_AUDIENCE", "latchkey", text, "`aud` of access tokens."),
  accessTokenAlgorithm: setting(
    "LATCHKEY_ACCESS_TOKEN_ALGORITHM",
    "EdDSA",
    oneOf("EdDSA", "ES256"),
    "Algorithm of new signing keys.",
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

type Values = {
  -readonly [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K] extends Setting<infer T> ? T | undefined : never;
};

/**
 * Reads the environment. Pure: no files, no network, the same answer for the same input. Unknown LATCHKEY_ variables
 * are faults too, because a misspelt limit would otherwise be silently ignored.
 *
 * @throws {ConfigError} with every fault at once
 */
export function readConfig(env: Environment): Config {
  const faults: string[] = [];
  const values = readValues(env, faults);
  if ((values.tlsCertFile !== undefined) !== (values.tlsKeyFile !== undefined)) {
    faults.push("LATCHKEY_TLS_CERT_FILE and LATCHKEY_TLS_KEY_FILE: set both or neither");
  }
  if (values.redisUrl !== undefined && values.redisClusterNodes?.length) {
    faults.push("REDIS_URL and REDIS_CLUSTER_NODES: set one of them");
  }
  if (values.databaseUrl === undefined && (values.workers ?? 1) > 1) {
    faults.push("LATCHKEY_WORKERS: the embedded database serves one process; set DATABASE_URL or LATCHKEY_WORKERS=1");
  }
  if (!hasRedis(values) && (values.workers ?? 1) > 1) {
    faults.push(
      "LATCHKEY_WORKERS: without Redis each process would count for itself; set REDIS_URL or LATCHKEY_WORKERS=1",
    );
  }
  if (faults.length === 0) faults.push(...(values.production ? productionFaults(values) : []));
  if (faults.length > 0) throw new ConfigError(faults);
  return toConfig(values as Required<Values>);
}

function readValues(env: Environment, faults: string[]): Values {
  const values: Record<string, unknown> = {};
  const known = new Set<string>();
  for (const [key, row] of Object.entries(SETTINGS)) {
    known.add(row.name);
    const given = env[row.name] === "" && row.default === undefined ? undefined : env[row.name];
    const source = given ?? row.default;
    if (source === undefined) continue;
    try {
      values[key] = row.parse(source.trim());
    } catch (error) {
      faults.push(`${row.name}: ${(error as Error).message}`);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith("LATCHKEY_") && !known.has(name)) faults.push(`${name}: no such setting; see docs/CONFIG.md`);
  }
  return values as Values;
}

/** What development only warns of and production refuses, each with its own line. */
function productionFaults(values: Values): string[] {
  const faults: string[] = [];
  if (values.masterKeys === undefined) {
    faults.push('LATCHKEY_MASTER_KEYS: must be set in production; make one with: echo "1:$(openssl rand -base64 32)"');
  }
  for (const key of values.masterKeys ?? []) {
    if (isTrivial(key.bytes))
      faults.push(`LATCHKEY_MASTER_KEYS: version ${key.version} is not random; make one with: openssl rand -base64 32`);
  }
  if (values.databaseUrl === undefined && !values.allowEmbedded) {
    faults.push(
      "DATABASE_URL: must be set in production, or LATCHKEY_ALLOW_EMBEDDED_DATABASE=true for a single small node",
    );
  }
  if (!hasRedis(values) && !values.allowInProcessLimits) {
    faults.push("REDIS_URL: must be set in production, or LATCHKEY_ALLOW_IN_PROCESS_LIMITS=true for a single process");
  }
  if (values.tlsCertFile === undefined && !values.allowPlaintext && !isLoopback(values.listen?.host ?? "")) {
    faults.push(
      "LATCHKEY_LISTEN: plaintext on a public address; set LATCHKEY_TLS_CERT_FILE and LATCHKEY_TLS_KEY_FILE, or LATCHKEY_ALLOW_PLAINTEXT=true behind a proxy that ends TLS",
    );
  }
  if ((values.argon2MemoryKib ?? 0) < ARGON2_FLOOR.memoryKib) {
    faults.push(`LATCHKEY_ARGON2_MEMORY_KIB: must be at least ${ARGON2_FLOOR.memoryKib} in production (OWASP)`);
  }
  if ((values.argon2Passes ?? 0) < ARGON2_FLOOR.passes) {
    faults.push(`LATCHKEY_ARGON2_PASSES: must be at least ${ARGON2_FLOOR.passes} in production (OWASP)`);
  }
  return faults;
}

function developmentWarnings(values: Required<Values>): string[] {
  if (values.production) return [];
  const warnings: string[] = [];
  if (values.databaseUrl === undefined)
    warnings.push(`embedded database in ${values.dataDir}; set DATABASE_URL for production`);
  if (!hasRedis(values)) warnings.push("limits are counted in this process; set REDIS_URL for production");
  if (values.masterKeys === undefined)
    warnings.push(`master key made and kept in ${values.dataDir}/master-keys; set LATCHKEY_MASTER_KEYS for production`);
  if (values.userScopes === undefined)
    warnings.push("users may give their keys any scope; set LATCHKEY_USER_SCOPES for production");
  return warnings;
}

function toConfig(values: Required<Values>): Config {
  const warnings = developmentWarnings(values);
  return Object.freeze({
    production: values.production!,
    logLevel: values.logLevel!,
    listen: values.listen!,
    opsListen: values.opsListen!,
    tls: values.tlsCertFile === undefined ? undefined : { certFile: values.tlsCertFile, keyFile: values.tlsKeyFile! },
    reflection: values.reflection!,
    corsOrigins: values.corsOrigins!,
    trustedProxies: values.trustedProxies!,
    drainMs: values.drainMs!,
    dataDir: values.dataDir!,
    databaseUrl: values.databaseUrl,
    databasePoolSize: values.databasePoolSize!,
    migrate: values.migrate!,
    redis: redisOf(values),
    masterKeys: values.masterKeys,
    workers: values.workers!,
    replicas: values.replicas!,
    staleOkMs: values.staleOkMs!,
    tiers: values.tiers!,
    keyPrefix: values.keyPrefix!,
    environments: values.environments!,
    keysPerOwner: values.keysPerOwner!,
    userScopes: values.userScopes ?? (values.production ? [] : ["*"]),
    registrationOpen: values.registrationOpen!,
    password: {
      minCodePoints: values.passwordMin!,
      memoryKib: values.argon2MemoryKib!,
      passes: values.argon2Passes!,
    },
    issuer: values.issuer!,
    audience: values.audience!,
    accessTokenAlgorithm: values.accessTokenAlgorithm!,
    accessTokenMs: values.accessTokenMs!,
    refreshIdleMs: values.refreshIdleMs!,
    refreshAbsoluteMs: values.refreshAbsoluteMs!,
    refreshGraceMs: values.refreshGraceMs!,
    developmentWarnings: Object.freeze(warnings),
  });
}

function redisOf(values: Values): Config["redis"] {
  if (values.redisUrl !== undefined) return { kind: "single", url: values.redisUrl };
  return values.redisClusterNodes?.length ? { kind: "cluster", nodes: values.redisClusterNodes } : undefined;
}

function hasRedis(values: Values): boolean {
  return redisOf(values) !== undefined;
}

/** Fewer than 8 different bytes in 32 does not come from a random source. */
function isTrivial(bytes: Uint8Array): boolean {
  return new Set(bytes).size < 8;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

// Parsers: text -> value, or an Error that says what is wanted.

function setting<T>(name: string, fallback: string | undefined, parse: (text: string) => T, doc: string): Setting<T> {
  return { name, default: fallback, parse, doc };
}

function text(value: string): string {
  if (value === "") throw new Error("must not be empty");
  return value;
}

function bool(value: string): boolean {
  if (value !== "true" && value !== "false") throw new Error("must be true or false");
  return value === "true";
}

function oneOf<const T extends string>(...choices: readonly T[]): (value: string) => T {
  return (value) => {
    if (!(choices as readonly string[]).includes(value)) throw new Error(`must be one of ${choices.join(", ")}`);
    return value as T;
  };
}

function integer(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) throw new Error(`must be a whole number from ${min} to ${max}`);
    return number;
  };
}

/** Seconds in the environment, milliseconds inside. */
function seconds(min: number, max: number): (value: string) => number {
  const parse = integer(min, max);
  return (value) => parse(value) * 1000;
}

function list<T>(parse: (value: string) => T): (value: string) => readonly T[] {
  return (value) => {
    const parts = value === "" ? [] : value.split(",").map((part) => part.trim());
    return Object.freeze(parts.map(parse));
  };
}

function address(value: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new Error("must be host:port, IPv6 in brackets");
  return Object.freeze({ host: (match[1] ?? match[2])!, port });
}

function url(...protocols: string[]): (value: string) => string {
  return (value) => {
    if (!URL.canParse(value) || !protocols.includes(new URL(value).protocol)) {
      throw new Error(`must be a URL that starts with ${protocols.map((p) => `${p}//`).join(" or ")}`);
    }
    return value;
  };
}

function origin(value: string): string {
  if (!URL.canParse(value) || new URL(value).origin !== value)
    throw new Error("must be origins such as https://example.com");
  return value;
}

function cidr(value: string): string {
  const [base, bits, ...rest] = value.split("/");
  const family = isIP(base ?? "");
  const most = family === 4 ? 32 : 128;
  if (family === 0 || rest.length > 0 || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= most))) {
    throw new Error("must be networks such as 10.0.0.0/8");
  }
  return bits === undefined ? `${base}/${most}` : value;
}

function scopeGlob(value: string): string {
  if (!/^[\x21-\x7e]{1,128}$/.test(value)) throw new Error("must be globs of scopes without spaces");
  return value;
}

function word(value: string): string {
  if (!WORD.test(value) || RESERVED_WORDS.has(value)) {
    throw new Error(`must match ${WORD.source} and not be ${[...RESERVED_WORDS].join(" or ")}`);
  }
  return value;
}

function environments(value: string): readonly [string, ...string[]] {
  const words = value.split(",").map((part) => word(part.trim()));
  if (new Set(words).size !== words.length) throw new Error("must not name an environment twice");
  return Object.freeze(words) as unknown as readonly [string, ...string[]];
}

function tiers(value: string): readonly [Tier, ...Tier[]] {
  const wanted = "must be name:per-minute/per-day, comma-separated, such as basic:20/1000,pro:60/-";
  const rows = value.split(",").map((part) => {
    const match = /^([a-z][a-z0-9_-]{0,31}):(-|\d{1,9})\/(-|\d{1,9})$/.exec(part.trim());
    if (match === null) throw new Error(wanted);
    return Object.freeze({ name: match[1]!, perMinute: figure(match[2]!), perDay: figure(match[3]!) });
  });
  if (new Set(rows.map((tier) => tier.name)).size !== rows.length) throw new Error("must not name a tier twice");
  return Object.freeze(rows) as unknown as readonly [Tier, ...Tier[]];
}

function figure(value: string): number | undefined {
  return value === "-" ? undefined : Number(value);
}

function masterKeys(value: string): readonly [MasterKey, ...MasterKey[]] {
  const keys = value.split(",").map((part) => {
    const match = /^([1-9]\d{0,4}):([A-Za-z0-9+/]+={0,2})$/.exec(part.trim());
    if (match === null) throw new Error("must be version:base64, comma-separated, versions from 1");
    const bytes = Buffer.from(match[2]!, "base64");
    if (bytes.length < 32)
      throw new Error(`version ${match[1]} must have at least 32 bytes; make one with: openssl rand -base64 32`);
    return Object.freeze({ version: Number(match[1]), bytes: new Uint8Array(bytes) });
  });
  if (new Set(keys.map((key) => key.version)).size !== keys.length) throw new Error("must not name a version twice");
  return Object.freeze(keys) as unknown as readonly [MasterKey, ...MasterKey[]];
}
