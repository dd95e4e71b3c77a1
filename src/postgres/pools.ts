/** The connections that one database is used by, from its opening to its end. */
import { join } from "node:path";
import type { MikroORM } from "@mikro-orm/core";
import { MikroORM as PgliteOrm } from "@mikro-orm/pglite";
import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../changes/change.ts";
import type { Log } from "../lib/log.ts";
import { settleWithin } from "../lib/settle-within.ts";
import { toDomainError } from "./conflicts.ts";
import { lockFolder } from "./folder-lock.ts";
import { ManagementTurns } from "./management-turns.ts";
import { managementOptions, ORM_OPTIONS, type PostgresTarget, READ_CONNECTIONS, readOptions } from "./orm-options.ts";
import type { Row } from "./row.ts";
import { lookAtServer } from "./server-facts.ts";
import { SqlStateAlarm } from "./sql-state-alarm.ts";
import { FollowedHistory, refuseStandby } from "./standby-check.ts";

export type DatabaseTarget =
  | PostgresTarget
  /** PGlite in a folder of its own, which one process may use at a time. */
  | { readonly kind: "embedded"; readonly folder: string };

export interface DatabaseOptions {
  readonly target: DatabaseTarget;
  /** Is told of the changes of each transaction, after its COMMIT and before the call that made it returns. */
  readonly onChanges?: (changes: readonly Change[]) => void;
  /** Adds to the database's clock; only tests move it. */
  readonly timeShiftMs?: () => number;
  readonly log?: Log;
  /** How long the lock of migrations is waited for. Default 60 s. */
  readonly lockWaitMs?: number;
}

/** What all views of one database share. */
export interface Pools {
  readonly orm: MikroORM;
  /** Hot reads have connections of their own that fail fast; PGlite has one connection for all. */
  readonly reads: MikroORM;
  readonly options: DatabaseOptions;
  readonly alarm: SqlStateAlarm;
  /** The history that every answer comes from. */
  readonly history: FollowedHistory;
  /** Who has a connection of `orm` when. */
  readonly turns: ManagementTurns;
  readonly unlock: () => void;
}

/** Where the embedded database is in its data folder. */
export const EMBEDDED_FOLDER = "pgdata";
const CLOSE_MS = 1000;

/** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
export function openPools(options: DatabaseOptions): Promise<Pools> {
  const { target, log } = options;
  const turns = new ManagementTurns(target.kind === "embedded" ? 1 : target.poolSize);
  const shared = { alarm: new SqlStateAlarm(log), history: new FollowedHistory(), turns };
  return target.kind === "embedded" ? openEmbedded(options, target.folder, shared) : connect(options, target, shared);
}

type Shared = Pick<Pools, "alarm" | "history" | "turns">;

async function openEmbedded(options: DatabaseOptions, folder: string, shared: Shared): Promise<Pools> {
  const unlock = lockFolder(folder);
  try {
    const orm = await PgliteOrm.init({ ...ORM_OPTIONS, dbName: join(folder, EMBEDDED_FOLDER) } as never);
    await refuseStandbyOf(orm);
    return { ...shared, orm, reads: orm, options, unlock };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function connect(given: DatabaseOptions, asked: PostgresTarget, shared: Shared): Promise<Pools> {
  const facts = await lookAtServer(asked.connection).catch((error: unknown) => {
    throw toDomainError(error);
  });
  const target = { ...asked, ...facts };
  const options = { ...given, target };
  const orm = await PostgresOrm.init(managementOptions(target, shared.history) as never);
  const reads = await PostgresOrm.init(readOptions(target, shared.history) as never);
  try {
    await refuseStandbyOf(orm);
    // Logging in takes several turns, and a busy process has few at its start: the first callers shall not wait for it.
    await Promise.allSettled(Array.from({ length: READ_CONNECTIONS }, () => refuseStandbyOf(reads)));
    return { ...shared, orm, reads, options, unlock: () => {} };
  } catch (error) {
    await Promise.allSettled([orm.close(true), reads.close(true)]);
    throw toDomainError(error);
  }
}

/** Within a second, also where the server is frozen and says no good-bye. The embedded database takes its time. */
export async function closePools({ orm, reads, options, unlock }: Pools): Promise<void> {
  if (options.target.kind === "embedded") await orm.close(true).catch(() => {});
  else await settleWithin(CLOSE_MS, Promise.allSettled([orm.close(true), reads.close(true)]));
  unlock();
}

/** @throws what the driver does, and DATABASE_UNAVAILABLE where a standby answers */
async function refuseStandbyOf(orm: MikroORM): Promise<void> {
  const em = orm.em.fork() as SqlEntityManager;
  refuseStandby(await em.execute<Row[]>("select pg_is_in_recovery() as in_recovery"));
}
