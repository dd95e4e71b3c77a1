import type { Options } from "@mikro-orm/core";
import type { DatabaseConnection } from "../../lib/database-connection.ts";
import type { FollowedHistory } from "../history/followed-history.ts";
import { HOT_READ_BUDGET, READ_CONNECTIONS } from "../hot-read-budget.ts";
import { TABLES } from "../tables.ts";
import { ormConnection, type Purpose } from "./connection.ts";
import { NoDatabaseCreation } from "./no-database-creation.ts";
import { closeOutdated, refill, releaseEnded } from "./pool-connections.ts";
import { countStatements, PoolCounts } from "./pool-counts.ts";
import { destroySilent } from "./silent-connections.ts";

/** Timeout of one statement of management. */
const STATEMENT_TIMEOUT_MS = 1000;
/**
 * The part of STATEMENT_TIMEOUT_MS for which a statement may wait for a lock. It is below 1, so that a wait for a held
 * lock fails as CONTENTION, and not as an unreachable database.
 */
const LOCK_PART = 0.9;
/** How long after its timeout a statement of management may stay unanswered before its connection is destroyed. */
const SILENCE_AFTER_TIMEOUT_MS = 500;
/**
 * Timeout of connecting for hot reads. Connecting takes four round trips, so with a server 50 ms away it ends only
 * after the caller got UNAVAILABLE. It continues all the same, because later callers use the connection.
 */
const READ_CONNECT_MS = 1000;
const MANAGEMENT_CONNECT_MS = 2000;

export interface PostgresTarget {
  readonly kind: "postgres";
  readonly connection: DatabaseConnection;
  /** Schema of the list of applied migrations. Default `public`. */
  readonly migrationsSchema?: string;
  readonly poolSize: number;
  /** Timeout of one statement, except hot reads. Default 1 s. */
  readonly statementTimeoutMs?: number;
  /** How long a statement waits for a lock. Default: 9/10 of statementTimeoutMs. */
  readonly lockTimeoutMs?: number;
  /** Shown in the connections' names. Default `management`. */
  readonly purpose?: Purpose;
}

export const ORM_OPTIONS = {
  entities: [...TABLES],
  extensions: [NoDatabaseCreation],
  // The ORM's own log would print SQL and driver messages, which may quote values.
  logger: () => {},
  colors: false,
  metadataCache: { enabled: false },
} satisfies Partial<Options>;

/** Options of the pool for management: reads of lists, and every write. */
export function managementOptions(target: PostgresTarget, history: FollowedHistory, counts = new PoolCounts()) {
  const { connection, statementTimeoutMs = STATEMENT_TIMEOUT_MS, purpose = "management" } = target;
  const { lockTimeoutMs = LOCK_PART * statementTimeoutMs } = target;
  const connectMs = MANAGEMENT_CONNECT_MS;
  return poolOptions(
    ormConnection(connection, { purpose, connectMs, statementTimeoutMs, lockTimeoutMs }),
    { min: 0, max: target.poolSize, idleTimeoutMillis: 30_000 },
    [
      destroySilent(statementTimeoutMs + SILENCE_AFTER_TIMEOUT_MS),
      closeOutdated(history, target.poolSize),
      countStatements(counts),
    ],
  );
}

/** Options of the pool for hot reads, which fail fast. */
export function readOptions(
  { connection }: Pick<PostgresTarget, "connection">,
  history: FollowedHistory,
  counts = new PoolCounts(),
) {
  const { STATEMENT_MS, SILENCE_MS } = HOT_READ_BUDGET;
  return poolOptions(
    ormConnection(connection, { purpose: "reads", connectMs: READ_CONNECT_MS, statementTimeoutMs: STATEMENT_MS }),
    // 0: an idle connection is never closed.
    { min: 0, max: READ_CONNECTIONS, idleTimeoutMillis: 0 },
    [
      destroySilent(SILENCE_MS),
      closeOutdated(history, READ_CONNECTIONS),
      refill(READ_CONNECTIONS),
      countStatements(counts),
    ],
  );
}

/** @param watchers each is called with the pool once it exists, in this order */
function poolOptions(
  { driverOptions, ...way }: ReturnType<typeof ormConnection>,
  pool: object,
  watchers: readonly ((pool: never) => void)[],
) {
  const onPoolCreated = (created: never) => {
    for (const watch of [releaseEnded, ...watchers]) watch(created);
  };
  return { ...ORM_OPTIONS, ...way, pool, driverOptions: { ...driverOptions, onPoolCreated } };
}
