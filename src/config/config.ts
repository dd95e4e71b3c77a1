/**
 * CONFIG. From the environment to a Config, in two pure steps: values.ts reads each variable, this file judges them
 * together. No file, no network, no clock: the same environment always gives the same result.
 *
 *   config.ts                 what the service is told, and which combinations are faults
 *   config-error.ts           all faults of an environment
 *   setting.ts                one setting: name, default, how it is read, what it means
 *   settings.ts               all settings, by section of docs/CONFIG.md
 *   settings-of-processes.ts  settings of processes, ports and master keys
 *   settings-of-stores.ts     settings of PostgreSQL and Redis
 *   settings-of-keys.ts       settings of API keys, Envoy's rate limits, changes and the audit trail
 *   settings-of-export.ts     settings of the export of the audit trail, and which of them are faults
 *   settings-of-accounts.ts   settings of accounts, passwords, access tokens and sessions
 *   values.ts                 text -> value
 *   database-url.ts           DATABASE_URL -> how PostgreSQL is reached
 *   redis-url.ts              REDIS_URL and REDIS_CLUSTER_NODES -> where Redis is and how to log in
 *   networks.ts               networks of proxies
 *   names.ts                  names that look like a setting but are none
 *   refusals.ts               values that production refuses, such as published passwords and weak hashes
 */

import type { DatabaseConnection } from "../lib/database-connection.ts";
import type { MasterKey } from "../lib/key-ring.ts";
import type { LogFormat, LogLevel } from "../lib/log.ts";
import { ConfigError } from "./config-error.ts";
import { mayBePlaintext, ormVariableFaults, warningsOfDatabase } from "./database-url.ts";
import { judgeNames } from "./names.ts";
import { coverEveryClient } from "./networks.ts";
import { type RedisConfig, redisOf, redisPlaintextFaults, redisTlsFaults, redisTlsFiles } from "./redis-url.ts";
import { argon2Faults, issuerFaults, masterKeyFaults, passwordFaults } from "./refusals.ts";
import type { Setting } from "./setting.ts";
import { SETTINGS } from "./settings.ts";
import { type AuditExportConfig, auditExportOf, exportFaults } from "./settings-of-export.ts";
import { type Address, isLoopback, isSameAddress, type Tier, ValueFaults } from "./values.ts";

export { ConfigError } from "./config-error.ts";
export type { Setting } from "./setting.ts";
export { SETTING_SECTIONS, SETTINGS } from "./settings.ts";
export type { Address, Tier } from "./values.ts";

/** The service's configuration in domain units: frozen, complete, checked. */
export interface Config {
  readonly production: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly listen: Address;
  readonly opsListen: Address;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** PEM file of the authorities of client certificates; undefined without them. */
  readonly clientCaFile: string | undefined;
  /** If TLS is configured: whether the port speaks plaintext too. */
  readonly plaintextBesideTls: boolean;
  readonly reflection: boolean;
  /** Whether the port serves `/docs`. */
  readonly docsPage: boolean;
  readonly corsOrigins: readonly string[];
  readonly trustedProxies: readonly string[];
  /** undefined = the service reads either header, and neither of them if they disagree. */
  readonly forwardedHeader: "x-forwarded-for" | "forwarded" | undefined;
  readonly drainMs: number;
  readonly dataDir: string;
  /** undefined = the embedded database in dataDir. */
  readonly database: DatabaseConnection | undefined;
  readonly databasePoolSize: number;
  readonly migrate: boolean;
  /** undefined = each process counts limits by itself. */
  readonly redis: RedisConfig | undefined;
  /** undefined = the first start makes one and keeps it in dataDir (development only). */
  readonly masterKeys: readonly [MasterKey, ...MasterKey[]] | undefined;
  readonly workers: number;
  readonly replicas: number;
  readonly staleOkMs: number;
  readonly tiers: readonly [Tier, ...Tier[]];
  readonly keyPrefix: string;
  readonly environments: readonly [string, ...string[]];
  readonly keysPerOwner: number;
  /** File with the limits of Envoy's descriptors; undefined = none. */
  readonly rateLimitsFile: string | undefined;
  /** Maximum key records in memory. */
  readonly cachedKeys: number;
  readonly userScopes: readonly string[];
  readonly auditKeepMs: number;
  readonly auditExport: AuditExportConfig;
  readonly registrationOpen: boolean;
  readonly hashesPerAddress: number;
  readonly changesPerMinute: number;
  readonly serviceChangesPerMinute: number;
  readonly password: { readonly minCodePoints: number; readonly memoryKib: number; readonly passes: number };
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenAlgorithm: "EdDSA" | "ES256";
  readonly signingKeyMs: number;
  readonly accessTokenMs: number;
  readonly refreshIdleMs: number;
  readonly refreshAbsoluteMs: number;
  readonly refreshGraceMs: number;
  /** Defaults that are fine on a laptop but not in production; one log line each. */
  readonly developmentWarnings: readonly string[];
  /** Facts that the operators of a production service should know; one log line each. */
  readonly warnings: readonly string[];
  /** Names in the environment that look like settings but are service links of Kubernetes or Docker. */
  readonly serviceLinks: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The value of a setting. It is undefined only for a setting without a default, unless its parser says otherwise. */
type ValueOf<S> = S extends Setting<infer T, infer D> ? (undefined extends D ? T | undefined : T) : never;
type Values = { readonly [K in keyof typeof SETTINGS]: ValueOf<(typeof SETTINGS)[K]> };
/** Values while their faults are collected. A value that could not be read is absent. */
type ReadValues = Partial<Values>;

/**
 * Reads the environment. Pure: no files, no network, the same answer for the same input. Unknown LATCHKEY_ variables
 * are faults too, because a misspelt limit would otherwise be ignored without a word. Service links are not (names.ts).
 *
 * @throws {ConfigError} with every fault at once
 */
export function readConfig(env: Environment): Config {
  const faults: string[] = [];
  const values = readValues(env, faults);
  const names = judgeNames(env);
  faults.push(...names.faults);
  faults.push(...ormVariableFaults(env));
  if ((values.tlsCertFile !== undefined) !== (values.tlsKeyFile !== undefined)) {
    faults.push("LATCHKEY_TLS_CERT_FILE and LATCHKEY_TLS_KEY_FILE: set both or neither");
  }
  if (values.tlsClientCaFile !== undefined && values.tlsCertFile === undefined) {
    faults.push("LATCHKEY_TLS_CLIENT_CA_FILE: needs LATCHKEY_TLS_CERT_FILE and LATCHKEY_TLS_KEY_FILE");
  }
  if (values.listen !== undefined && isSameAddress(values.listen, values.opsListen)) {
    faults.push("LATCHKEY_OPS_LISTEN: must not be the address of LATCHKEY_LISTEN");
  }
  if (values.redisUrl !== undefined && values.redisCluster !== undefined) {
    faults.push("REDIS_URL and REDIS_CLUSTER_NODES: set one of them");
  }
  faults.push(...redisTlsFaults(values.redisUrl ?? values.redisCluster, redisTlsFiles(values)));
  if (values.databaseUrl === undefined && (values.workers ?? 1) > 1) {
    faults.push("LATCHKEY_WORKERS: the embedded database serves one process; set DATABASE_URL or LATCHKEY_WORKERS=1");
  }
  if (!hasRedis(values) && (values.workers ?? 1) > 1) {
    faults.push(
      "LATCHKEY_WORKERS: without Redis each process would count for itself; set REDIS_URL or LATCHKEY_WORKERS=1",
    );
  }
  faults.push(...exportFaults(values));
  if (values.production) faults.push(...productionFaults(values).filter((fault) => !isNamed(faults, fault)));
  if (faults.length > 0) throw new ConfigError(faults);
  // Without a fault each value was read.
  return toConfig(values as Values, names.links);
}

/**
 * Whether the setting that a fault names has a fault already. A value that could not be read must not be reported as
 * missing.
 */
function isNamed(faults: readonly string[], fault: string): boolean {
  const name = fault.slice(0, fault.indexOf(":") + 1);
  return faults.some((known) => known.startsWith(name));
}

function readValues(env: Environment, faults: string[]): ReadValues {
  const values: Record<string, unknown> = {};
  for (const [key, row] of Object.entries(SETTINGS)) {
    const given = env[row.name] === "" && row.default === undefined ? undefined : env[row.name];
    const source = given ?? row.default;
    if (source === undefined) continue;
    try {
      values[key] = row.parse(source.trim());
    } catch (error) {
      const messages = error instanceof ValueFaults ? error.faults : [(error as Error).message];
      faults.push(...messages.map((message) => `${row.name}: ${message}`));
    }
  }
  return values as ReadValues;
}

/** Faults in production only: insecure defaults, of which development only warns. One line each. */
function productionFaults(values: ReadValues): string[] {
  const faults: string[] = [];
  if (values.masterKeys === undefined) {
    faults.push('LATCHKEY_MASTER_KEYS: must be set in production; make one with: echo "1:$(openssl rand -base64 32)"');
  }
  const logins = {
    DATABASE_URL: values.databaseUrl && { username: values.databaseUrl.user, password: values.databaseUrl.password },
    REDIS_URL: values.redisUrl,
    REDIS_CLUSTER_NODES: values.redisCluster,
  };
  faults.push(...masterKeyFaults(values), ...passwordFaults(logins), ...issuerFaults(values));
  if (values.databaseUrl === undefined && !values.allowEmbedded) {
    faults.push(
      "DATABASE_URL: must be set in production, or LATCHKEY_ALLOW_EMBEDDED_DATABASE=true for a single small node",
    );
  }
  if (mayBePlaintext(values.databaseUrl) && !values.allowPlaintextDatabase) {
    faults.push(
      "DATABASE_URL: may be plaintext to another machine; set sslmode=verify-full with sslrootcert, or LATCHKEY_ALLOW_PLAINTEXT_DATABASE=true if the network between is trusted",
    );
  }
  if (!hasRedis(values) && !values.allowInProcessLimits) {
    faults.push("REDIS_URL: must be set in production, or LATCHKEY_ALLOW_IN_PROCESS_LIMITS=true for a single process");
  }
  if (!values.allowPlaintextRedis) faults.push(...redisPlaintextFaults(redisOf(values)));
  if (values.tlsCertFile === undefined && !values.allowPlaintext && !isLoopback(values.listen?.host ?? "")) {
    faults.push(
      "LATCHKEY_LISTEN: plaintext on a public address; set LATCHKEY_TLS_CERT_FILE and LATCHKEY_TLS_KEY_FILE, or LATCHKEY_ALLOW_PLAINTEXT=true behind a proxy that ends TLS",
    );
  }
  if (coverEveryClient(values.trustedProxies ?? [])) {
    faults.push(
      "LATCHKEY_TRUSTED_PROXIES: lets every client choose its address; name the networks of your proxies only",
    );
  }
  return [...faults, ...argon2Faults(values)];
}

function developmentWarnings(values: Values): string[] {
  if (values.production) return [];
  const warnings: string[] = [];
  if (values.databaseUrl === undefined)
    warnings.push(`embedded database in ${values.dataDir}; set DATABASE_URL for production`);
  if (!hasRedis(values)) warnings.push("limits are counted in this process; set REDIS_URL for production");
  if (values.masterKeys === undefined)
    warnings.push(`master key kept in ${values.dataDir}/master-keys; set LATCHKEY_MASTER_KEYS for production`);
  if (values.userScopes === undefined)
    warnings.push("users may give their keys any scope; set LATCHKEY_USER_SCOPES for production");
  return warnings;
}

function toConfig(values: Values, serviceLinks: readonly string[]): Config {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile } = values;
  return Object.freeze({
    production: values.production,
    logLevel: values.logLevel,
    logFormat: values.logFormat ?? (values.production ? "json" : "text"),
    listen: values.listen,
    opsListen: values.opsListen,
    tls: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
    clientCaFile: values.tlsClientCaFile,
    plaintextBesideTls: !values.production || values.allowPlaintext,
    reflection: values.reflection,
    docsPage: values.docsPage ?? !values.production,
    corsOrigins: values.corsOrigins,
    trustedProxies: values.trustedProxies,
    forwardedHeader: values.forwardedHeader,
    drainMs: values.drainMs,
    dataDir: values.dataDir,
    database: values.databaseUrl,
    databasePoolSize: values.databasePoolSize,
    migrate: values.migrate,
    redis: redisOf(values),
    masterKeys: values.masterKeys,
    workers: values.workers,
    replicas: values.replicas,
    staleOkMs: values.staleOkMs,
    tiers: values.tiers,
    keyPrefix: values.keyPrefix,
    environments: values.environments,
    keysPerOwner: values.keysPerOwner,
    rateLimitsFile: values.rateLimitsFile,
    cachedKeys: values.cachedKeys,
    userScopes: values.userScopes ?? (values.production ? [] : ["*"]),
    auditKeepMs: values.auditKeepMs,
    auditExport: auditExportOf(values),
    registrationOpen: values.registrationOpen,
    hashesPerAddress: values.hashesPerAddress,
    changesPerMinute: values.changesPerMinute,
    serviceChangesPerMinute: values.serviceChangesPerMinute,
    password: { minCodePoints: values.passwordMin, memoryKib: values.argon2MemoryKib, passes: values.argon2Passes },
    issuer: values.issuer,
    audience: values.audience,
    accessTokenAlgorithm: values.accessTokenAlgorithm,
    signingKeyMs: values.signingKeyMs,
    accessTokenMs: values.accessTokenMs,
    refreshIdleMs: values.refreshIdleMs,
    refreshAbsoluteMs: values.refreshAbsoluteMs,
    refreshGraceMs: values.refreshGraceMs,
    developmentWarnings: Object.freeze(developmentWarnings(values)),
    warnings: Object.freeze(values.production ? warningsOfDatabase(values.databaseUrl) : []),
    serviceLinks: Object.freeze(serviceLinks),
  });
}

function hasRedis(values: ReadValues): boolean {
  return redisOf(values) !== undefined;
}
