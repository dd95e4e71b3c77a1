import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change, ChangeKind } from "../changes/change.ts";
import { systemClock } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import { endWith } from "./call-end.ts";
import { faultOf, toDomainError, unavailable } from "./conflicts.ts";
import { END_WITH_CLIENT, HOLDER, LOCK_WAIT_MS, TRY_LOCK, untilMine } from "./migration-lock.ts";
import { applyMigrations, tellWhileItLasts } from "./migrator.ts";
import { READ_ANSWER_MS, READ_CONNECTIONS } from "./orm-options.ts";
import { closePools, type DatabaseOptions, type DatabaseTarget, openPools, type Pools } from "./pools.ts";
import { away, type FollowedHistory, isOtherHistory, onPrimary, onPrimaryInOrder } from "./primary.ts";
import { ms, msOf, type Row } from "./row.ts";
import { whenSilent } from "./silent-connections.ts";
import { type Begin, beginOnPrimary, beginTransaction, CHANGES_CHANNEL, type Transaction } from "./transaction.ts";

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

const MAX_ATTEMPTS = 3;
/** The connection to PostgreSQL, or to PGlite: the same schema, the same SQL. */
export class Database {
  readonly #pools: Pools;
  readonly #signal: AbortSignal | undefined;
  /** The transaction that all statements are part of. */
  readonly #joined: Transaction | undefined;

  private constructor(pools: Pools, signal?: AbortSignal, joined?: Transaction) {
    this.#pools = pools;
    this.#signal = signal;
    this.#joined = joined;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    return new Database(await openPools(options));
  }

  /**
   * Applies what is missing of the schema, all of it or nothing. Several processes may call it at once: one applies, the
   * others wait, as `exclusively` does.
   *
   * @throws DATABASE_UNAVAILABLE, and then nothing was applied; Error that says who holds the lock
   */
  async migrate(): Promise<void> {
    const stop = tellWhileItLasts(this.#pools.options.log);
    try {
      await this.exclusively((alone) => applyMigrations(this.#pools.orm, alone.#joined?.em));
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
    const { log, lockWaitMs: waitMs = LOCK_WAIT_MS } = this.#pools.options;
    const holder = () => this.unproven(HOLDER, []);
    const done = await untilMine({ clock: systemClock, log, waitMs, holder }, () =>
      this.#transactWith(beginOnPrimary, async (tx) => {
        const [lock] = await tx.em.execute<Row[]>(TRY_LOCK);
        if (!lock!.is_mine) return undefined;
        await tx.em.execute(END_WITH_CLIENT);
        return { result: await work(new Database(this.#pools, this.#signal, tx)) };
      }),
    );
    return done.result;
  }

  get target(): DatabaseTarget {
    return this.#pools.options.target;
  }

  /** The history that every answer comes from. The change feed decides which it is. */
  get history(): FollowedHistory {
    return this.#pools.history;
  }

  /**
   * The same database as one call sees it: once the signal has aborted, `transact`, `read` and `write` start no further
   * statement and don't COMMIT, but reject with its reason.
   */
  within(signal: AbortSignal): Database {
    return new Database(this.#pools, signal, this.#joined);
  }

  /**
   * Runs one transaction (READ COMMITTED). Deadlocks and serialization failures are tried again from the start, so
   * `work` must have no effect outside the database.
   */
  transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#joined !== undefined ? work(this.#joined) : this.#transactWith(beginTransaction, work);
  }

  async #transactWith<T>(begin: Begin, work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      this.#signal?.throwIfAborted();
      try {
        return await this.#transactOnce(begin, work);
      } catch (error) {
        // The ORM takes it for the driver's, and wraps it.
        this.#signal?.throwIfAborted();
        if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
        // Connections to an abandoned server give way one by one, each at its first statement.
        if (attempt <= this.#managingConnections && isOtherHistory(error)) continue;
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
      const { reads } = this.#pools;
      const ask = () => this.#execute(reads.em.fork() as SqlEntityManager, onPrimary(sql, ms(this.now)), parameters);
      const found = await this.inTime(this.history.proven(READ_CONNECTIONS, ask), READ_ANSWER_MS);
      return { rows: found.filter((row) => row.is_row), databaseMs: msOf(found[0]!.now_ms) as number };
    } catch (error) {
      if (error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE") throw error;
      this.#pools.alarm.unforeseen(error);
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
    const ask = () => this.#execute(this.#managing(), onPrimaryInOrder(sql, ms(this.now)), parameters);
    const found = await this.history.proven(this.#managingConnections, ask);
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

  /**
   * One statement that proves nothing: for the polls of the change feed, which prove their server by themselves and
   * decide which history it is, and for a look at who holds the lock of migrations.
   */
  unproven(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return this.#execute(this.#managing(), sql, parameters);
  }

  /** SQL for the database's time. Constant but in tests. */
  get now(): string {
    const shiftMs = this.#pools.options.timeShiftMs?.() ?? 0;
    return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
  }

  /** On the embedded database: calls `onSignal` after each commit that wrote a change, if it can. @returns ends it */
  listen(onSignal: () => void): () => void {
    const { orm, options } = this.#pools;
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
  close(): Promise<void> {
    return closePools(this.#pools);
  }

  get #managingConnections(): number {
    return this.target.kind === "embedded" ? 1 : this.target.poolSize;
  }

  /** As `unchanged` of a transaction, for what was read without one. */
  unchanged(kind: ChangeKind, subjectId: string): void {
    this.#pools.options.onChanges?.([{ kind, subjectId }]);
  }

  /** For one statement of management: in the transaction that is joined, or by itself. */
  #managing(): SqlEntityManager {
    return this.#joined?.em ?? (this.#pools.orm.em.fork() as SqlEntityManager);
  }

  async #transactOnce<T>(begin: Begin, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { orm, options, history } = this.#pools;
    const root = orm.em.fork() as SqlEntityManager;
    const changes: Change[] = [];
    const { result, proof } = await root.transactional(async (em) => {
      if (this.#signal !== undefined) endWith(this.#signal, em as SqlEntityManager);
      const begun = await begin(em as SqlEntityManager, { now: this.now, history, changes });
      return { result: await work(begun.tx), proof: begun.proof };
    });
    if (changes.length > 0) options.onChanges?.(changes);
    if (proof !== undefined) history.proveStill(proof);
    return result;
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
    const failure = toDomainError(error);
    this.#pools.alarm.met(failure);
    return failure;
  }
}
