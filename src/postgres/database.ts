import type { SqlEntityManager } from "@mikro-orm/sql";
import type { ChangeKind } from "../changes/change.ts";
import { DomainError, databaseUnavailable } from "../lib/errors.ts";
import { whenSilent } from "../lib/when-silent.ts";
import { type Asker, itself } from "../shares/holder.ts";
import { closePools, type DatabaseOptions, type DatabaseTarget, openPools, type Pools } from "./connections/pools.ts";
import { CHANGES_CHANNEL } from "./connections/signals.ts";
import { noAnswer } from "./errors/driver-errors.ts";
import type { FollowedHistory } from "./history/followed-history.ts";
import { withProof, withProofInOrder } from "./history/standby-check.ts";
import { HOT_READ_BUDGET, READ_CONNECTIONS } from "./hot-read-budget.ts";
import { lockedTransaction } from "./migrations/migration-lock.ts";
import { applyMigrations, type MigrateOptions, planMigrations, readSchema } from "./migrations/migrator.ts";
import type { PlannedMigration } from "./migrations/planned-migration.ts";
import type { SchemaState } from "./migrations/schema-state.ts";
import { ms, msOf, type Row } from "./row.ts";
import { execute, failed, managingConnections, nowOf, tracedStatement, transact } from "./transactions/statements.ts";
import { beginTransaction, type Transaction } from "./transactions/transaction.ts";

export { type DatabaseOptions, type DatabaseTarget, EMBEDDED_FOLDER } from "./connections/pools.ts";
export { bytesOf, ms, msOf, type Row } from "./row.ts";
export type { Transaction } from "./transactions/transaction.ts";

interface Listenable {
  listen(channel: string, onSignal: () => void): Promise<() => Promise<void>>;
}

/** The rows of a hot read, and the database's time of it. */
export interface HotRead {
  readonly rows: readonly Row[];
  readonly databaseMs: number;
}

/** The asker during the start of a service, when no calls are served yet. */
const STARTING: Asker = { holder: itself("start") };

/**
 * The door of the stores to PostgreSQL, or to PGlite: the same schema, the same SQL. It has only hot reads. The methods
 * for management are on ManagedDatabase, which `for` makes for one holder.
 */
export class Database {
  protected readonly pools: Pools;

  protected constructor(pools: Pools) {
    this.pools = pools;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that names the process that uses the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    return new Database(await openPools(options));
  }

  /**
   * The same database for one call or one part of the service. Its statements wait in the queue of the asker's holder
   * for their share of the connections. Once the signal has aborted, no further statement starts, and nothing is
   * committed.
   */
  for(asker: Asker): ManagedDatabase {
    return new ManagedDatabase(this.pools, asker);
  }

  /** The schema that the database has, compared with what this code needs. Writes nothing. */
  schema(): Promise<SchemaState> {
    return readSchema(this.pools, (sql) => this.unproven(sql, []));
  }

  /** The statements that `migrate` would run now, in order. Writes nothing. @throws Error if the schema is too new */
  planMigrations(migrations?: MigrateOptions["migrations"]): Promise<readonly PlannedMigration[]> {
    return planMigrations(this.pools, (sql) => this.unproven(sql, []), migrations);
  }

  /**
   * Applies the migrations that the database lacks. Each is applied as a whole or not at all, and by one process, also
   * if several call this at once. If one fails, those before it stay, and the next call goes on from there.
   *
   * @throws DATABASE_UNAVAILABLE; Error that names the holder of the lock, or says that the schema is too new
   */
  migrate(options?: MigrateOptions): Promise<void> {
    return applyMigrations(this.pools, (sql) => this.unproven(sql, []), options);
  }

  /**
   * Runs `work` while no other process migrates or runs something else exclusively. All statements of `alone` are part
   * of one transaction, which holds the lock. The embedded database has only one process, so there it takes no lock and
   * begins no transaction. For the start of a process: it waits in no queue.
   *
   * @throws Error that names the holder of the lock, after 60 s
   */
  async exclusively<T>(work: (alone: ManagedDatabase) => Promise<T>): Promise<T> {
    if (this.target.kind === "embedded") return work(this.for(STARTING));
    return lockedTransaction(
      this.pools,
      (sql) => this.unproven(sql, []),
      (tx) => work(new ManagedDatabase(this.pools, STARTING, tx)),
    );
  }

  get target(): DatabaseTarget {
    return this.pools.options.target;
  }

  /** The history that every answer must come from. The change feed decides which one that is. */
  get history(): FollowedHistory {
    return this.pools.history;
  }

  /** The counts of each pool since the start. */
  get counts(): Pools["counts"] {
    return this.pools.counts;
  }

  /** The counts of calls of management that wait, or waited, for their share, a lock or a connection. */
  get turns(): Pick<Pools["turns"], "waiting" | "waitSeconds" | "refused"> {
    return this.pools.turns;
  }

  /**
   * Runs one statement on the connections for hot reads. `?` marks parameters; use `this.now` instead of `now()`. The
   * answer comes from the primary. A standby may be behind, so it counts as unreachable, even if it returns no row.
   *
   * The texts of hot reads are constant, so no error of one is the caller's fault. An error that sql-states.ts does not
   * list counts as an unreachable database too: it is logged, and stale copies are served.
   *
   * @param waitedMs how long its first caller has waited for it already; only for the count of waits
   * @throws DATABASE_UNAVAILABLE within HOT_READ_BUDGET.ANSWER_MS, except on the embedded database, which can't be
   *   interrupted
   */
  async hotRead(sql: string, parameters: readonly unknown[], waitedMs = 0): Promise<HotRead> {
    this.counts.reads.waitSeconds.observeMs(waitedMs);
    try {
      const { reads } = this.pools;
      const em = () => reads.em.fork() as SqlEntityManager;
      const proven = withProof(sql, ms(this.now));
      const ask = () => tracedStatement(sql, () => execute(this.pools, em(), proven, parameters));
      const found = await this.inTime(this.history.proven(READ_CONNECTIONS, ask), HOT_READ_BUDGET.ANSWER_MS);
      return { rows: found.filter((row) => row.is_row), databaseMs: msOf(found[0]!.now_ms) as number };
    } catch (error) {
      if (error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE") throw error;
      this.pools.alarm.unforeseen(error);
      throw databaseUnavailable(undefined, error);
    }
  }

  /**
   * The answer, or DATABASE_UNAVAILABLE after `timeoutMs`. The embedded database has no timeout: it can't be
   * interrupted.
   */
  inTime<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
    if (this.target.kind === "embedded") return answer;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    whenSilent(answer, timeoutMs, () => reject(noAnswer()));
    answer.then(resolve, reject);
    return promise;
  }

  /**
   * Runs one statement without a proof of its server, and without a queue. It serves the polls of the change feed,
   * which prove their server themselves and decide which history is followed. It also reads the list of applied
   * migrations.
   */
  unproven(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return execute(this.pools, this.pools.orm.em.fork() as SqlEntityManager, sql, parameters);
  }

  /** SQL for the database's time. Constant except in tests. */
  get now(): string {
    return nowOf(this.pools);
  }

  /**
   * Calls `onSignal` after each commit that wrote a change. Only for the embedded database. If the database can't send
   * signals, this is logged, and only polls find changes. @returns stops it
   */
  listen(onSignal: () => void): () => void {
    const { orm, options } = this.pools;
    const connection = orm.em.getConnection() as unknown as { getNativeClient(): Promise<Listenable> };
    const listening = connection
      .getNativeClient()
      .then((native) => native.listen(CHANGES_CHANNEL, onSignal))
      .catch((error: unknown) => {
        options.log?.error("the embedded database sends no signals; only polls find changes", {}, error);
      });
    return () => void listening.then((unlisten) => unlisten?.()).catch(() => {});
  }

  /** The error that leaves this room. An error that a person has to act on is also logged. */
  failed(error: unknown): unknown {
    return failed(this.pools, error);
  }

  /** Closes within 1 s, even if the server is frozen. The embedded database takes as long as it needs. */
  close(): Promise<void> {
    return closePools(this.pools);
  }
}

type Work<T> = (tx: Transaction) => Promise<T>;

/** The database for one call or one part of the service: reads, writes and transactions of management. */
export class ManagedDatabase extends Database {
  /** The transaction that all statements are part of, if any. */
  readonly joined: Transaction | undefined;
  readonly #asker: Asker;
  #isUnderWay: boolean;

  /** @internal only for Database */
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
   * Runs one transaction (READ COMMITTED). After a deadlock or a serialization failure it runs again from the start, so
   * `work` must have no effect outside the database.
   *
   * @param locks every lock in the database that it may wait for, by the names of locks.ts
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
   * Runs one SELECT with the timeout of management. The rows keep the statement's order, and come from the primary (ADR
   * 26). They also have the columns of the proof. `?` marks parameters.
   *
   * @throws OVERLOADED; DATABASE_UNAVAILABLE, also if a standby answers
   */
  async read(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    const proven = withProofInOrder(sql, ms(this.now));
    const ask = () => tracedStatement(sql, () => this.#execute(proven, parameters));
    const found = await this.#inTurn([], () => this.history.proven(managingConnections(this.pools), ask));
    return found.filter((row) => row.is_row);
  }

  /**
   * Runs one INSERT, UPDATE or DELETE outside of a transaction. It needs no proof: a standby refuses it, even if it
   * would change no row. It returns only a count, so that it can't be used to read.
   *
   * @returns the number of rows that it wrote
   * @throws OVERLOADED; DATABASE_UNAVAILABLE, also if a standby answers
   */
  write(sql: string, parameters: readonly unknown[]): Promise<number> {
    return this.#inTurn([], async () => {
      try {
        const result = await tracedStatement(sql, () =>
          this.#managing().execute<{ affectedRows: number }>(sql, [...parameters], "run"),
        );
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

  /** Like `unchanged` of a transaction, for a subject that was read without one. */
  unchanged(kind: ChangeKind, subjectId: string): void {
    this.pools.options.onChanges?.([{ kind, subjectId }]);
  }

  /** Waits for a connection, unless the statements are part of a transaction that has one. */
  #inTurn<T>(locks: readonly string[], work: () => Promise<T>): Promise<T> {
    if (this.joined !== undefined) return work();
    return this.pools.turns.run({ ...this.#asker, isUnderWay: this.#isUnderWay }, locks, () => {
      this.#isUnderWay = true;
      return work();
    });
  }

  /** The entity manager for one statement: that of the joined transaction, or a new one. */
  #managing(): SqlEntityManager {
    return this.joined?.em ?? (this.pools.orm.em.fork() as SqlEntityManager);
  }
}
