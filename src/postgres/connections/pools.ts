/** The pools of connections to one database, from open to close. */
import { join } from "node:path";
import type { MikroORM } from "@mikro-orm/core";
import { MikroORM as PgliteOrm } from "@mikro-orm/pglite";
import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../../changes/change.ts";
import type { Log } from "../../lib/log.ts";
import { settleWithin } from "../../lib/settle-within.ts";
import { toDomainError } from "../errors/driver-errors.ts";
import { SqlStateAlarm } from "../errors/sql-state-alarm.ts";
import { FollowedHistory } from "../history/followed-history.ts";
import { refuseStandby } from "../history/standby-check.ts";
import { READ_CONNECTIONS } from "../hot-read-budget.ts";
import type { Row } from "../row.ts";
import { lockFolder } from "./folder-lock.ts";
import { ManagementTurns } from "./management-turns.ts";
import { managementOptions, ORM_OPTIONS, type PostgresTarget, readOptions } from "./orm-options.ts";
import { PoolCounts, type PoolName } from "./pool-counts.ts";
import { lookAtServer } from "./server-facts.ts";

export type DatabaseTarget =
  | PostgresTarget
  /** PGlite in its own folder, which one process may use at a time. */
  | { readonly kind: "embedded"; readonly folder: string };

export interface DatabaseOptions {
  readonly target: DatabaseTarget;
  /** Is called with the changes of each transaction, after its COMMIT and before its call returns. */
  readonly onChanges?: (changes: readonly Change[]) => void;
  /** Adds to the database's clock; only tests move it. */
  readonly timeShiftMs?: () => number;
  readonly log?: Log;
  /** How long a start waits for the lock of migrations. Default 60 s. */
  readonly lockWaitMs?: number;
}

/** State that all views of one database share. */
export interface Pools {
  readonly orm: MikroORM;
  /** A separate pool for hot reads, which fail fast; PGlite has one connection for everything. */
  readonly reads: MikroORM;
  readonly options: DatabaseOptions;
  readonly alarm: SqlStateAlarm;
  /** The history that every answer must come from. */
  readonly history: FollowedHistory;
  /** Decides which call gets a connection of `orm`, and when. */
  readonly turns: ManagementTurns;
  /** The counts of each pool since the start. */
  readonly counts: Readonly<Record<PoolName, PoolCounts>>;
  readonly unlock: () => void;
}

/** Name of the folder of the embedded database, in the data folder. */
export const EMBEDDED_FOLDER = "pgdata";
const CLOSE_MS = 1000;

/** @throws DATABASE_UNAVAILABLE, or an Error that names the process that uses the folder of the embedded database */
export function openPools(options: DatabaseOptions): Promise<Pools> {
  const { target, log } = options;
  const turns = new ManagementTurns(target.kind === "embedded" ? 1 : target.poolSize);
  const counts = { management: new PoolCounts(), reads: new PoolCounts() };
  const shared = { alarm: new SqlStateAlarm(log), history: new FollowedHistory(), turns, counts };
  return target.kind === "embedded" ? openEmbedded(options, target.folder, shared) : connect(options, target, shared);
}

type Shared = Pick<Pools, "alarm" | "history" | "turns" | "counts">;

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
  const orm = await PostgresOrm.init(managementOptions(target, shared.history, shared.counts.management) as never);
  const reads = await PostgresOrm.init(readOptions(target, shared.history, shared.counts.reads) as never);
  try {
    await refuseStandbyOf(orm);
    // Connecting takes several event-loop ticks, and the ticks of a starting process are long. So the pool for hot
    // reads connects now, before the first callers.
    await Promise.allSettled(Array.from({ length: READ_CONNECTIONS }, () => refuseStandbyOf(reads)));
    return { ...shared, orm, reads, options, unlock: () => {} };
  } catch (error) {
    await Promise.allSettled([orm.close(true), reads.close(true)]);
    throw toDomainError(error);
  }
}

/** Closes within CLOSE_MS, even if the server is frozen. The embedded database takes as long as it needs. */
export async function closePools({ orm, reads, options, unlock }: Pools): Promise<void> {
  if (options.target.kind === "embedded") await orm.close(true).catch(() => {});
  else await settleWithin(CLOSE_MS, Promise.allSettled([orm.close(true), reads.close(true)]));
  unlock();
}

/** @throws errors of the driver, and DATABASE_UNAVAILABLE if a standby answers */
async function refuseStandbyOf(orm: MikroORM): Promise<void> {
  const em = orm.em.fork() as SqlEntityManager;
  refuseStandby(await em.execute<Row[]>("select pg_is_in_recovery() as in_recovery"));
}
