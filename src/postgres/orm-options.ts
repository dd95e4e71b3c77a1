import type { Options } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import type { DatabaseConnection } from "../lib/database-connection.ts";
import { ormConnection, type Purpose } from "./connection.ts";
import { FirstSchema } from "./migrations/0001-first-schema.ts";
import { LoginThrottles } from "./migrations/0002-login-throttles.ts";
import { AuditEvents } from "./migrations/0003-audit-events.ts";
import { MasterKeyVersions } from "./migrations/0004-master-key-versions.ts";
import { SessionEnds } from "./migrations/0005-session-ends.ts";
import { TiersInUse } from "./migrations/0006-tiers-in-use.ts";
import { LoginHashes } from "./migrations/0007-login-hashes.ts";
import { ChangeIncarnation } from "./migrations/0008-change-incarnation.ts";
import { EmailsInNfc } from "./migrations/0009-emails-in-nfc.ts";
import { TextsThatSayNull } from "./migrations/0010-texts-that-say-null.ts";
import { KeyRevocationByReset } from "./migrations/0013-key-revocation-by-reset.ts";
import { NoDatabaseCreation } from "./no-database-creation.ts";
import { closeOutdated, refill, releaseEnded } from "./pool-connections.ts";
import { FORMER_SCHEMA, LIST } from "./server-facts.ts";
import { destroySilent } from "./silent-connections.ts";
import type { FollowedHistory } from "./standby-check.ts";
import { TABLES } from "./tables.ts";

/** Longest that one statement may run. */
const STATEMENT_TIMEOUT_MS = 1000;
/** The part of it that a statement may wait for a lock: what ends by that is CONTENTION, and no database that is away. */
const LOCK_PART = 0.9;
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
const MANAGEMENT_CONNECT_MS = 2000;

export interface PostgresTarget {
  readonly kind: "postgres";
  readonly connection: DatabaseConnection;
  /** Schema of the list of applied migrations. Default `public`. */
  readonly migrationsSchema?: string;
  readonly poolSize: number;
  /** Longest that one statement may run, except hot reads. Default 1 s. */
  readonly statementTimeoutMs?: number;
  /** Longest that a statement waits for a lock. Default: 9/10 of the above. */
  readonly lockTimeoutMs?: number;
  /** For what, as it shows in the connections' names. Default `management`. */
  readonly purpose?: Purpose;
}

export const ORM_OPTIONS = {
  entities: [...TABLES],
  extensions: [Migrator, NoDatabaseCreation],
  migrations: {
    migrationsList: [
      ...[FirstSchema, LoginThrottles, AuditEvents, MasterKeyVersions, SessionEnds, TiersInUse, LoginHashes],
      ...[ChangeIncarnation, EmailsInNfc, TextsThatSayNull, KeyRevocationByReset],
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
  const { connection, statementTimeoutMs = STATEMENT_TIMEOUT_MS, purpose = "management" } = target;
  const { lockTimeoutMs = LOCK_PART * statementTimeoutMs } = target;
  const connectMs = MANAGEMENT_CONNECT_MS;
  const { migrationsSchema = FORMER_SCHEMA } = target;
  const options = poolOptions(
    ormConnection(connection, { purpose, connectMs, statementTimeoutMs, lockTimeoutMs }),
    { min: 0, max: target.poolSize, idleTimeoutMillis: 30_000 },
    [destroySilent(statementTimeoutMs + 500), closeOutdated(history, target.poolSize)],
  );
  return { ...options, migrations: { ...options.migrations, tableName: `${migrationsSchema}.${LIST}` } };
}

/** For hot reads, which fail fast. */
export function readOptions({ connection }: Pick<PostgresTarget, "connection">, history: FollowedHistory) {
  return poolOptions(
    ormConnection(connection, {
      purpose: "reads",
      connectMs: READ_CONNECT_MS,
      statementTimeoutMs: READ_TIMEOUT_MS,
    }),
    // Kept however quiet it is: 0 = no time is too long.
    { min: 0, max: READ_CONNECTIONS, idleTimeoutMillis: 0 },
    [destroySilent(READ_TIMEOUT_MS + 20), closeOutdated(history, READ_CONNECTIONS), refill(READ_CONNECTIONS)],
  );
}

/** @param watchers are given the pool when it is there, one after the other */
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
