import type { SqlEntityManager } from "@mikro-orm/sql";
import type { ChangeKind } from "../changes/change.ts";
import { systemClock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import { type Asker, itself } from "../shares/holder.ts";
import { unavailable } from "./conflicts.ts";
import { END_WITH_CLIENT, HOLDER, LOCK_WAIT_MS, TRY_LOCK, untilMine } from "./migration-lock.ts";
import { applyMigrations, tellWhileItLasts } from "./migrator.ts";
import { READ_ANSWER_MS, READ_CONNECTIONS } from "./orm-options.ts";
import { closePools, type DatabaseOptions, type DatabaseTarget, openPools, type Pools } from "./pools.ts";
import { ms, msOf, type Row } from "./row.ts";
import { whenSilent } from "./silent-connections.ts";
import { away, type FollowedHistory, onPrimary, onPrimaryInOrder } from "./standby-check.ts";
import { execute, failed, managingConnections, nowOf, transact } from "./statements.ts";
import { beginOnPrimary, beginTransaction, CHANGES_CHANNEL, type Transaction } from "./transaction.ts";

export { type DatabaseOptions, type DatabaseTarget, EMBEDDED_FOLDER } from "./pools.ts";
export { bytesOf, ms, msOf, type Row } from "./row.ts";
export { CHANGES_CHANNEL, type Transaction } from "./transaction.ts";

interface Listenable {
  listen(channel: string, onSignal: () => void): Promise<() => Promise<void>>;
}

/** What a hot read found, and when by the database's clock. */
export interface HotRead {
  readonly rows: readonly Row[];
  readonly databaseMs: number;
}

/** For the start of a service, while nothing else asks. */
const STARTING: Asker = { holder: itself("start") };

/**
 * The connection to PostgreSQL, or to PGlite: the same schema, the same SQL. It has no doors for management: these are on a
 * ManagedDatabase, which `for` makes for one holder.
 */
export class Database {
  protected readonly pools: Pools;

  protected constructor(pools: Pools) {
    this.pools = pools;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    return new Database(await openPools(options));
  }

  /**
   * The same database as one call sees it, or one part of the service: it waits for its share of the connections in the
   * queue of the holder. Once the signal has aborted no further statement starts, and nothing is committed.
   */
  for(asker: Asker): ManagedDatabase {
    return new ManagedDatabase(this.pools, asker);
  }

  /**
   * Applies what is missing of the schema, all of it or nothing. Several processes may call it at once: one applies, the
   * others wait, as `exclusively` does.
   *
   * @throws DATABASE_UNAVAILABLE, and then nothing was applied; Error that says who holds the lock
   */
  async migrate(): Promise<void> {
    const stop = tellWhileItLasts(this.pools.options.log);
    try {
      await this.exclusively((alone) => applyMigrations(this.pools.orm, alone.joined?.em));
    } catch (error) {
      throw failed(this.pools, error);
    } finally {
      stop();
    }
  }

  /**
   * Runs `work` while no other process migrates or does anything else exclusively: in one transaction, which holds the
   * lock, and which all that `alone` does is part of. The embedded database has no other process, and no such transaction.
   * For the start of a process: it waits in no queue.
   *
   * @throws Error that says who holds the lock, after 60 s
   */
  async exclusively<T>(work: (alone: ManagedDatabase) => Promise<T>): Promise<T> {
    if (this.target.kind === "embedded") return work(this.for(STARTING));
    const { log, lockWaitMs: waitMs = LOCK_WAIT_MS } = this.pools.options;
    const holder = () => this.unproven(HOLDER, []);
    const beginning = { begin: beginOnPrimary, signal: undefined, holds: () => true };
    const done = await untilMine({ clock: systemClock, log, waitMs, holder }, () =>
      transact(this.pools, beginning, async (tx) => {
        const [lock] = await tx.em.execute<Row[]>(TRY_LOCK);
        if (!lock!.is_mine) return undefined;
        await tx.em.execute(END_WITH_CLIENT);
        return { result: await work(new ManagedDatabase(this.pools, STARTING, tx)) };
      }),
    );
    return done.result;
  }

  get target(): DatabaseTarget {
    return this.pools.options.target;
  }

  /** The history that every answer comes from. The change feed decides which it is. */
  get history(): FollowedHistory {
    return this.pools.history;
  }

  /** How much of management waits for its share, a lock or a connection. */
  get waiting(): number {
    return this.pools.turns.waiting;
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
      const { reads } = this.pools;
      const em = () => reads.em.fork() as SqlEntityManager;
      const ask = () => execute(this.pools, em(), onPrimary(sql, ms(this.now)), parameters);
      const found = await this.inTime(this.history.proven(READ_CONNECTIONS, ask), READ_ANSWER_MS);
      return { rows: found.filter((row) => row.is_row), databaseMs: msOf(found[0]!.now_ms) as number };
    } catch (error) {
      if (error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE") throw error;
      this.pools.alarm.unforeseen(error);
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
   * One statement that proves nothing, and waits in no queue: for the polls of the change feed, which prove their server
   * by themselves and decide which history it is, and for a look at who holds the lock of migrations.
   */
  unproven(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return execute(this.pools, this.pools.orm.em.fork() as SqlEntityManager, sql, parameters);
  }

  /** SQL for the database's time. Constant but in tests. */
  get now(): string {
    return nowOf(this.pools);
  }

  /** On the embedded database: calls `onSignal` after each commit that wrote a change, if it can. @returns ends it */
  listen(onSignal: () => void): () => void {
    const { orm, options } = this.pools;
    const connection = orm.em.getConnection() as unknown as { getNativeClient(): Promise<Listenable> };
    const listening = connection
      .getNativeClient()
      .then((native) => native.listen(CHANGES_CHANNEL, onSignal))
      .catch((error: unknown) => {
        options.log?.error("changes are not signalled; they are found by polling alone", {}, error);
      });
    return () => void listening.then((unlisten) => unlisten?.()).catch(() => {});
  }

  /** The error that leaves this room; what a person has to mend is told in the log. */
  failed(error: unknown): unknown {
    return failed(this.pools, error);
  }

  /** Within a second, also where the server is frozen and says no good-bye. The embedded database takes its time. */
  close(): Promise<void> {
    return closePools(this.pools);
  }
}

type Work<T> = (tx: Transaction) => Promise<T>;

/** A database as one call sees it, or one part of the service. */
export class ManagedDatabase extends Database {
  /** The transaction that all statements are part of. */
  readonly joined: Transaction | undefined;
  readonly #asker: Asker;
  #isUnderWay: boolean;

  /** @internal by Database alone */
  constructor(pools: Pools, asker: Asker, joined?: Transaction) {
    super(pools);
    this.#asker = asker;
    this.#isUnderWay = asker.isUnderWay ?? false;
    this.joined = joined;
  }

  override async exclusively<T>(work: (alone: ManagedDatabase) => Promise<T>): Promise<T> {
    return this.joined === undefined ? super.exclusively(work) : work(this);
  }

  /**
   * Runs one transaction (READ COMMITTED). Deadlocks and serialization failures are tried again from the start, so
   * `work` must have no effect outside the database.
   *
   * @param locks all that it may have to wait for in the database, by the names of locks.ts
   * @throws OVERLOADED, DATABASE_UNAVAILABLE, CONTENTION
   */
  transact<T>(work: Work<T>): Promise<T>;
  transact<T>(locks: readonly string[], work: Work<T>): Promise<T>;
  transact<T>(...given: [Work<T>] | [readonly string[], Work<T>]): Promise<T> {
    const [locks, work] = given.length === 1 ? [[], given[0]] : given;
    if (this.joined !== undefined) return work(this.joined);
    const { signal } = this.#asker;
    const holds = (lock: string) => locks.includes(lock);
    return this.#inTurn(locks, () => transact(this.pools, { begin: beginTransaction, signal, holds }, work));
  }

  /**
   * One SELECT with the time that management may take. Its rows come in its order, and they are the primary's: see ADR 26.
   * They have the columns of the proof beside their own. `?` marks parameters.
   *
   * @throws OVERLOADED; DATABASE_UNAVAILABLE, also where a standby answers
   */
  async read(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    const ask = () => this.#execute(onPrimaryInOrder(sql, ms(this.now)), parameters);
    const found = await this.#inTurn([], () => this.history.proven(managingConnections(this.pools), ask));
    return found.filter((row) => row.is_row);
  }

  /**
   * One INSERT, UPDATE or DELETE outside of a transaction. A standby refuses it by itself, also where it has no row to
   * change. It answers with a count and nothing else, so that nothing can be read by it.
   *
   * @returns how many rows it wrote
   * @throws OVERLOADED; DATABASE_UNAVAILABLE, also where a standby answers
   */
  write(sql: string, parameters: readonly unknown[]): Promise<number> {
    return this.#inTurn([], async () => {
      try {
        const result = await this.#managing().execute<{ affectedRows: number }>(sql, [...parameters], "run");
        this.pools.turns.answered();
        return result.affectedRows;
      } catch (error) {
        throw failed(this.pools, error);
      }
    });
  }

  override unproven(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return this.#execute(sql, parameters);
  }

  async #execute(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    const rows = await execute(this.pools, this.#managing(), sql, parameters);
    this.pools.turns.answered();
    return rows;
  }

  /** As `unchanged` of a transaction, for what was read without one. */
  unchanged(kind: ChangeKind, subjectId: string): void {
    this.pools.options.onChanges?.([{ kind, subjectId }]);
  }

  /** What is part of a transaction has its connection already. */
  #inTurn<T>(locks: readonly string[], work: () => Promise<T>): Promise<T> {
    if (this.joined !== undefined) return work();
    return this.pools.turns.run({ ...this.#asker, isUnderWay: this.#isUnderWay }, locks, () => {
      this.#isUnderWay = true;
      return work();
    });
  }

  /** For one statement: in the transaction that is joined, or by itself. */
  #managing(): SqlEntityManager {
    return this.joined?.em ?? (this.pools.orm.em.fork() as SqlEntityManager);
  }
}
