import { join } from "node:path";
import type { EntityManager as AnyEntityManager, MikroORM } from "@mikro-orm/core";
import { MikroORM as PgliteOrm } from "@mikro-orm/pglite";
import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../changes/change.ts";
import { atMost } from "../lib/at-most.ts";
import { systemClock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { endWith } from "./call-end.ts";
import { faultOf, toDomainError, unavailable } from "./conflicts.ts";
import { lockFolder } from "./folder-lock.ts";
import { END_WITH_CLIENT, HOLDER, LOCK_WAIT_MS, TRY_LOCK, untilMine } from "./migration-lock.ts";
import { applyMigrations, tellWhileItLasts } from "./migrator.ts";
import {
  managementOptions,
  ORM_OPTIONS,
  type PostgresTarget,
  READ_ANSWER_MS,
  READ_CONNECTIONS,
  readOptions,
} from "./orm-options.ts";
import { away, onPrimary, onPrimaryInOrder, refuseStandby } from "./primary.ts";
import { ms, msOf, type Row } from "./row.ts";
import { lookAtServer } from "./server-facts.ts";
import { whenSilent } from "./silent-connections.ts";
import { SqlStateAlarm } from "./sql-state-alarm.ts";
import { beginTransaction, CHANGES_CHANNEL, type Transaction } from "./transaction.ts";

export { bytesOf, ms, msOf, type Row } from "./row.ts";
export { CHANGES_CHANNEL, type Transaction } from "./transaction.ts";

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

interface Listenable {
  listen(channel: string, onSignal: () => void): Promise<() => Promise<void>>;
}

/** What a hot read found, and when by the database's clock. */
export interface HotRead {
  readonly rows: readonly Row[];
  readonly databaseMs: number;
}

const MAX_ATTEMPTS = 3;
const CLOSE_MS = 1000;
/** Where the embedded database is in its data folder. */
export const EMBEDDED_FOLDER = "pgdata";

/** What all views of one database share. */
interface Parts {
  readonly orm: MikroORM;
  /** Hot reads have connections of their own that fail fast; PGlite has one connection for all. */
  readonly reads: MikroORM;
  readonly options: DatabaseOptions;
  readonly alarm: SqlStateAlarm;
  readonly unlock: () => void;
}

/** The connection to PostgreSQL, or to PGlite: the same schema, the same SQL. */
export class Database {
  readonly #parts: Parts;
  readonly #signal: AbortSignal | undefined;
  /** The transaction that all statements are part of. */
  readonly #joined: Transaction | undefined;

  private constructor(parts: Parts, signal?: AbortSignal, joined?: Transaction) {
    this.#parts = parts;
    this.#signal = signal;
    this.#joined = joined;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { target, log } = options;
    const alarm = new SqlStateAlarm(log);
    if (target.kind === "embedded") {
      const unlock = lockFolder(target.folder);
      try {
        const orm = await PgliteOrm.init({ ...ORM_OPTIONS, dbName: join(target.folder, EMBEDDED_FOLDER) } as never);
        await connect(orm);
        return new Database({ orm, reads: orm, options, alarm, unlock });
      } catch (error) {
        unlock();
        throw error;
      }
    }
    return Database.#connect(options, target, alarm);
  }

  static async #connect(given: DatabaseOptions, asked: PostgresTarget, alarm: SqlStateAlarm): Promise<Database> {
    const facts = await lookAtServer(asked.connection).catch((error: unknown) => {
      throw toDomainError(error);
    });
    const target = { ...asked, ...facts };
    const options = { ...given, target };
    const orm = await PostgresOrm.init(managementOptions(target) as never);
    const reads = await PostgresOrm.init(readOptions(target) as never);
    try {
      await connect(orm);
      // Logging in takes several turns, and a busy process at its start has few: the first callers shall not wait for it.
      await Promise.allSettled(Array.from({ length: READ_CONNECTIONS }, () => connect(reads)));
      return new Database({ orm, reads, options, alarm, unlock: () => {} });
    } catch (error) {
      await Promise.allSettled([orm.close(true), reads.close(true)]);
      throw toDomainError(error);
    }
  }

  /**
   * Applies what is missing of the schema, all of it or nothing. Several processes may call it at once: one applies, the
   * others wait, as `exclusively` does.
   *
   * @throws DATABASE_UNAVAILABLE, and then nothing was applied; Error that says who holds the lock
   */
  async migrate(): Promise<void> {
    const stop = tellWhileItLasts(this.#parts.options.log);
    try {
      await this.exclusively((alone) => applyMigrations(this.#parts.orm, alone.#joined?.em));
    } catch (error) {
      throw this.failed(error);
    } finally {
      stop();
    }
  }

  /**
   * Runs `work` while no other process migrates or does anything else exclusively: in one transaction, which holds the
   * lock, and which all that `alone` does is part of. The embedded database has no other process, and no such transaction.
   *
   * @throws Error that says who holds the lock, after 60 s
   */
  async exclusively<T>(work: (alone: Database) => Promise<T>): Promise<T> {
    if (this.target.kind === "embedded" || this.#joined !== undefined) return work(this);
    const { log, lockWaitMs: waitMs = LOCK_WAIT_MS } = this.#parts.options;
    const holder = () => this.read(HOLDER, []);
    const done = await untilMine({ clock: systemClock, log, waitMs, holder }, () =>
      this.transact(async (tx) => {
        const [lock] = await tx.em.execute<Row[]>(TRY_LOCK);
        if (!lock!.is_mine) return undefined;
        await tx.em.execute(END_WITH_CLIENT);
        return { result: await work(new Database(this.#parts, this.#signal, tx)) };
      }),
    );
    return done.result;
  }

  get target(): DatabaseTarget {
    return this.#parts.options.target;
  }

  /**
   * The same database as one call sees it: once the signal has aborted, `transact`, `read` and `write` start no further
   * statement and don't COMMIT, but reject with its reason.
   */
  within(signal: AbortSignal): Database {
    return new Database(this.#parts, signal, this.#joined);
  }

  /**
   * Runs one transaction (READ COMMITTED). Deadlocks and serialization failures are tried again from the start, so
   * `work` must have no effect outside the database.
   */
  async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    if (this.#joined !== undefined) return work(this.#joined);
    const { orm, options } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      this.#signal?.throwIfAborted();
      try {
        const changes: Change[] = [];
        const root = orm.em.fork() as SqlEntityManager;
        const result = await root.transactional(async (em) => {
          if (this.#signal !== undefined) endWith(this.#signal, em as SqlEntityManager);
          return work(await beginTransaction(em as SqlEntityManager, this.now, changes));
        });
        if (changes.length > 0) options.onChanges?.(changes);
        return result;
      } catch (error) {
        // The ORM takes it for the driver's, and wraps it.
        this.#signal?.throwIfAborted();
        if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
        throw this.failed(error);
      }
    }
  }

  /**
   * One statement on the connections for hot reads. `?` marks parameters; `now()` of ours is `this.now`. Its answer is the
   * primary's: a standby, which may be behind, counts as away also where it has no row to show.
   *
   * Its statements are constant, so that whatever it fails by says nothing of what was asked for: a fault that nobody
   * has met yet is the database's too, with an alarm, and copies are served stale through it.
   *
   * @throws DATABASE_UNAVAILABLE within 220 ms, but on the embedded database, which can't be interrupted
   */
  async hotRead(sql: string, parameters: readonly unknown[]): Promise<HotRead> {
    try {
      const answer = this.#execute(
        this.#parts.reads.em.fork() as SqlEntityManager,
        onPrimary(sql, ms(this.now)),
        parameters,
      );
      const found = await this.inTime(answer, READ_ANSWER_MS);
      refuseStandby(found);
      return { rows: found.filter((row) => row.is_row), databaseMs: msOf(found[0]!.now_ms) as number };
    } catch (error) {
      if (error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE") throw error;
      this.#parts.alarm.unforeseen(error);
      throw unavailable(error);
    }
  }

  /** The answer, or DATABASE_UNAVAILABLE after so long; but on the embedded database, which can't be interrupted. */
  inTime<T>(answer: Promise<T>, patienceMs: number): Promise<T> {
    if (this.target.kind === "embedded") return answer;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    whenSilent(answer, patienceMs, () => reject(away("the database does not answer", "ETIMEDOUT")));
    answer.then(resolve, reject);
    return promise;
  }

  /**
   * One SELECT with the time that management may take. Its rows come in its order, and they are the primary's: see ADR 26.
   * They have the columns of the proof beside their own. `?` marks parameters.
   *
   * @throws DATABASE_UNAVAILABLE, also where a standby answers
   */
  async read(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    this.#signal?.throwIfAborted();
    const found = await this.#execute(this.#managing(), onPrimaryInOrder(sql, ms(this.now)), parameters);
    refuseStandby(found);
    return found.filter((row) => row.is_row);
  }

  /**
   * One INSERT, UPDATE or DELETE outside of a transaction. A standby refuses it by itself, also where it has no row to
   * change. It answers with a count and nothing else, so that nothing can be read by it.
   *
   * @returns how many rows it wrote
   * @throws DATABASE_UNAVAILABLE, also where a standby answers
   */
  async write(sql: string, parameters: readonly unknown[]): Promise<number> {
    this.#signal?.throwIfAborted();
    try {
      const result = await this.#managing().execute<{ affectedRows: number }>(sql, [...parameters], "run");
      return result.affectedRows;
    } catch (error) {
      throw this.failed(error);
    }
  }

  /** SQL for the database's time. Constant but in tests. */
  get now(): string {
    const shiftMs = this.#parts.options.timeShiftMs?.() ?? 0;
    return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
  }

  /** On the embedded database: calls `onSignal` after each commit that wrote a change, if it can. @returns ends it */
  listen(onSignal: () => void): () => void {
    const { orm, options } = this.#parts;
    const connection = orm.em.getConnection() as unknown as { getNativeClient(): Promise<Listenable> };
    const listening = connection
      .getNativeClient()
      .then((native) => native.listen(CHANGES_CHANNEL, onSignal))
      .catch((error: unknown) => {
        options.log?.error("changes are not signalled; they are found by polling alone", {}, error);
      });
    return () => void listening.then((unlisten) => unlisten?.()).catch(() => {});
  }

  /** Within a second, also where the server is frozen and says no good-bye. The embedded database takes its time. */
  async close(): Promise<void> {
    const { orm, reads, unlock } = this.#parts;
    if (this.target.kind === "embedded") await orm.close(true).catch(() => {});
    else await atMost(CLOSE_MS, Promise.allSettled([orm.close(true), reads.close(true)]));
    unlock();
  }

  /** For one statement of management: in the transaction that is joined, or by itself. */
  #managing(): SqlEntityManager {
    return this.#joined?.em ?? (this.#parts.orm.em.fork() as SqlEntityManager);
  }

  async #execute(em: SqlEntityManager, sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    try {
      return await em.execute<Row[]>(sql, [...parameters]);
    } catch (error) {
      throw this.failed(error);
    }
  }

  /** The error that leaves this room; what a person has to mend is told in the log. */
  failed(error: unknown): unknown {
    this.#parts.alarm.met(error);
    return toDomainError(error);
  }
}

/** @throws what the driver does, and DATABASE_UNAVAILABLE where a standby answers */
async function connect(orm: MikroORM): Promise<void> {
  const em = orm.em.fork() as AnyEntityManager & SqlEntityManager;
  refuseStandby(await em.execute<Row[]>("select pg_is_in_recovery() as in_recovery"));
}
