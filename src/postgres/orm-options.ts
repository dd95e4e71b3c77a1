import type { Options } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import { FirstSchema } from "./migrations/0001-first-schema.ts";
import { LoginThrottles } from "./migrations/0002-login-throttles.ts";
import { AuditEvents } from "./migrations/0003-audit-events.ts";
import { MasterKeyVersions } from "./migrations/0004-master-key-versions.ts";
import { SessionEnds } from "./migrations/0005-session-ends.ts";
import { TiersInUse } from "./migrations/0006-tiers-in-use.ts";
import { LoginHashes } from "./migrations/0007-login-hashes.ts";
import { ChangeIncarnation } from "./migrations/0008-change-incarnation.ts";
import { closeOutdated, refill, releaseEnded } from "./pool-connections.ts";
import type { FollowedHistory } from "./primary.ts";
import { destroySilent } from "./silent-connections.ts";
import { TABLES } from "./tables.ts";

/** Longest that one statement may run. Also bounds waiting for a row's lock. */
const STATEMENT_TIMEOUT_MS = 1000;
/** A statement that takes longer than this has met a frozen or dead server. */
const READ_TIMEOUT_MS = 120;
/** A hot read with the wait for a connection: the caller has 300 ms in all. */
export const READ_ANSWER_MS = 220;
/**
 * Connecting takes four ways there and back, so that with a server 50 ms away it is over only after its caller was told
 * that the database is out of reach. It goes on, for those who come next.
 */
const READ_CONNECT_MS = 1000;
export const READ_CONNECTIONS = 4;
/**
 * So often a connection that nobody uses is heard of. A balancer or a NAT forgets one that is silent for minutes, and the
 * system's own default is two hours: the next read would go into the void.
 */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelayMillis: 30_000 };

export interface PostgresTarget {
  readonly kind: "postgres";
  readonly url: string;
  readonly poolSize: number;
  /** Longest that one statement may run, but for hot reads. Default 1 s. Also bounds waiting for a lock. */
  readonly statementTimeoutMs?: number;
  /** Longest that a statement waits for a lock, where that is to be shorter. */
  readonly lockTimeoutMs?: number;
}

export const ORM_OPTIONS = {
  entities: [...TABLES],
  extensions: [Migrator],
  migrations: {
    migrationsList: [
      ...[FirstSchema, LoginThrottles, AuditEvents, MasterKeyVersions, SessionEnds, TiersInUse, LoginHashes],
      ChangeIncarnation,
    ],
    snapshot: false,
    silent: true,
  },
  // The ORM's own log would print SQL and driver messages, which may quote values.
  logger: () => {},
  colors: false,
  metadataCache: { enabled: false },
} satisfies Partial<Options>;

/** For what may take its time. */
export function managementOptions(target: PostgresTarget, history: FollowedHistory) {
  const { statementTimeoutMs = STATEMENT_TIMEOUT_MS, lockTimeoutMs } = target;
  return {
    ...ORM_OPTIONS,
    clientUrl: target.url,
    pool: { min: 0, max: target.poolSize, idleTimeoutMillis: 30_000 },
    driverOptions: {
      ...KEEP_ALIVE,
      connectionTimeoutMillis: 2000,
      statement_timeout: statementTimeoutMs,
      ...(lockTimeoutMs !== undefined && { lock_timeout: lockTimeoutMs }),
      application_name: "latchkey",
      onPoolCreated: each(destroySilent(statementTimeoutMs + 500), closeOutdated(history, target.poolSize)),
    },
  };
}

/** For hot reads, which fail fast. */
export function readOptions(target: { url: string }, history: FollowedHistory) {
  return {
    ...ORM_OPTIONS,
    clientUrl: target.url,
    // Kept however quiet it is: 0 = no time is too long.
    pool: { min: 0, max: READ_CONNECTIONS, idleTimeoutMillis: 0 },
    driverOptions: {
      ...KEEP_ALIVE,
      connectionTimeoutMillis: READ_CONNECT_MS,
      statement_timeout: READ_TIMEOUT_MS,
      application_name: "latchkey-reads",
      onPoolCreated: each(
        destroySilent(READ_TIMEOUT_MS + 20),
        closeOutdated(history, READ_CONNECTIONS),
        refill(READ_CONNECTIONS),
      ),
    },
  };
}

/** Each looks at the pool in its own way. */
function each(...steps: readonly ((pool: never) => void)[]): (pool: never) => void {
  return (pool) => {
    for (const step of [releaseEnded, ...steps]) step(pool);
  };
}
