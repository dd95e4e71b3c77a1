import { join } from "node:path";
import type { EntityManager as AnyEntityManager, MikroORM } from "@mikro-orm/core";
import { MikroORM as PgliteOrm } from "@mikro-orm/pglite";
import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { Change } from "../changes/change.ts";
import { atMost } from "../lib/at-most.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { endWith } from "./call-end.ts";
import { faultOf, toDomainError, unavailable } from "./conflicts.ts";
import { lockFolder } from "./folder-lock.ts";
import { withMigrationLock } from "./migration-lock.ts";
import {
  managementOptions,
  ORM_OPTIONS,
  type PostgresTarget,
  READ_ANSWER_MS,
  READ_CONNECTIONS,
  readOptions,
} from "./orm-options.ts";
import { away, FollowedHistory, isOtherHistory, onPrimary, PROOF, type ProofRow, refuseStandby } from "./primary.ts";
import { whenSilent } from "./silent-connections.ts";
import { CHANGES_CHANNEL, type Transaction, transactionOn } from "./transaction.ts";

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
}

interface Listenable {
  listen(channel: string, onSignal: () => void): Promise<() => Promise<void>>;
}

/** A row of a plain read. Times are selected as milliseconds (see `ms`), so that both drivers give the same types. */
export type Row = Record<string, unknown>;

/** What a hot read found, and when by the database's clock. */
export interface HotRead {
  readonly rows: readonly Row[];
  readonly databaseMs: number;
}

const MAX_ATTEMPTS = 3;
const CLOSE_MS = 1000;
/** Where the embedded database is in its data folder. */
export const EMBEDDED_FOLDER = "pgdata";

interface Connections {
  readonly orm: MikroORM;
  /** Hot reads have connections of their own that fail fast; PGlite has one connection for all. */
  readonly reads: MikroORM;
  /** Every answer that somebody is told comes from it. */
  readonly history: FollowedHistory;
}

/** The connection to PostgreSQL, or to PGlite: the same schema, the same SQL. */
export class Database {
  readonly #connections: Connections;
  readonly #options: DatabaseOptions;
  readonly #unlock: () => void;
  readonly #signal: AbortSignal | undefined;

  private constructor(connections: Connections, options: DatabaseOptions, unlock: () => void, signal?: AbortSignal) {
    this.#connections = connections;
    this.#options = options;
    this.#unlock = unlock;
    this.#signal = signal;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { target } = options;
    const history = new FollowedHistory();
    if (target.kind === "embedded") {
      const unlock = lockFolder(target.folder);
      try {
        const orm = await PgliteOrm.init({ ...ORM_OPTIONS, dbName: join(target.folder, EMBEDDED_FOLDER) } as never);
        await connect(orm);
        return new Database({ orm, reads: orm, history }, options, unlock);
      } catch (error) {
        unlock();
        throw error;
      }
    }
    const orm = await PostgresOrm.init(managementOptions(target, history) as never);
    const reads = await PostgresOrm.init(readOptions(target, history) as never);
    try {
      await connect(orm);
      // Logging in takes several turns, and a busy process at its start has few: the first callers shall not wait for it.
      await Promise.allSettled(Array.from({ length: READ_CONNECTIONS }, () => connect(reads)));
      return new Database({ orm, reads, history }, options, () => {});
    } catch (error) {
      await Promise.allSettled([orm.close(true), reads.close(true)]);
      throw toDomainError(error);
    }
  }

  /**
   * Applies what is missing of the schema. Several processes may call it at once: one applies, the others wait.
   * @throws DATABASE_UNAVAILABLE, and then nothing was applied
   */
  async migrate(): Promise<void> {
    try {
      await this.exclusively(() => this.#connections.orm.migrator.up());
    } catch (error) {
      throw toDomainError(error);
    }
  }

  /** Runs `work` while no other process migrates or does anything else exclusively. The embedded database has no other. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.target.kind === "embedded" ? work() : withMigrationLock(this.target.url, work);
  }

  get target(): DatabaseTarget {
    return this.#options.target;
  }

  /** Every answer that somebody is told comes from it. */
  get history(): FollowedHistory {
    return this.#connections.history;
  }

  /**
   * The same database as one call sees it: once the signal has aborted, `transact` and `run` start no further statement
   * and don't COMMIT, but reject with its reason.
   */
  within(signal: AbortSignal): Database {
    return new Database(this.#connections, this.#options, this.#unlock, signal);
  }

  /**
   * Runs one transaction (READ COMMITTED). Deadlocks and serialization failures are tried again from the start, so
   * `work` must have no effect outside the database.
   */
  async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      this.#signal?.throwIfAborted();
      try {
        return await this.#transactOnce(work);
      } catch (error) {
        // The ORM takes it for the driver's, and wraps it.
        this.#signal?.throwIfAborted();
        if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
        // Connections to an abandoned server give way one by one, each at its first statement.
        if (attempt <= this.#mostConnections && isOtherHistory(error)) continue;
        throw toDomainError(error);
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
      const found = await this.inTime(this.#readProven(onPrimary(sql, ms(this.now)), parameters), READ_ANSWER_MS);
      return { rows: found.filter((row) => row.is_row), databaseMs: msOf(found[0]!.now_ms) as number };
    } catch (error) {
      if (error instanceof DomainError && error.reason === "DATABASE_UNAVAILABLE") throw error;
      this.#options.log?.error(
        "a hot read failed by something unforeseen; it counts as a database that is away",
        {},
        error,
      );
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

  /** One statement, with the time that management may take; it may write. */
  async run(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    this.#signal?.throwIfAborted();
    return this.#execute(this.#connections.orm, sql, parameters);
  }

  /** SQL for the database's time. Constant but in tests. */
  get now(): string {
    const shiftMs = this.#options.timeShiftMs?.() ?? 0;
    return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
  }

  /** On the embedded database: calls `onSignal` after each commit that wrote a change, if it can. @returns ends it */
  listen(onSignal: () => void): () => void {
    const connection = this.#connections.orm.em.getConnection() as unknown as {
      getNativeClient(): Promise<Listenable>;
    };
    const listening = connection
      .getNativeClient()
      .then((native) => native.listen(CHANGES_CHANNEL, onSignal))
      .catch((error: unknown) => {
        this.#options.log?.error("changes are not signalled; they are found by polling alone", {}, error);
      });
    return () => void listening.then((unlisten) => unlisten?.()).catch(() => {});
  }

  /** Within a second, also where the server is frozen and says no good-bye. The embedded database takes its time. */
  async close(): Promise<void> {
    const { orm, reads } = this.#connections;
    if (this.target.kind === "embedded") await orm.close(true).catch(() => {});
    else await atMost(CLOSE_MS, Promise.allSettled([orm.close(true), reads.close(true)]));
    this.#unlock();
  }

  async #execute(orm: MikroORM, sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    try {
      return await (orm.em.fork() as SqlEntityManager).execute<Row[]>(sql, [...parameters]);
    } catch (error) {
      throw toDomainError(error);
    }
  }

  get #mostConnections(): number {
    return this.target.kind === "embedded" ? 1 : this.target.poolSize;
  }

  /** Connections to an abandoned server give way one by one, each at its first answer. */
  async #readProven(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    const { reads, history } = this.#connections;
    for (let attempt = 1; ; attempt++) {
      const found = await this.#execute(reads, sql, parameters);
      try {
        history.prove(found);
        return found;
      } catch (error) {
        if (attempt > READ_CONNECTIONS || !isOtherHistory(error)) throw error;
      }
    }
  }

  async #transactOnce<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { orm, history } = this.#connections;
    const root = orm.em.fork() as SqlEntityManager;
    const changes: Change[] = [];
    let proof: ProofRow | undefined;
    const result = await root.transactional(async (em) => {
      if (this.#signal !== undefined) endWith(this.#signal, em as SqlEntityManager);
      const [first] = await em.execute<Row[]>(`select ${ms(this.now)} as now, ${PROOF}`);
      history.prove([first!]);
      proof = first;
      return work(transactionOn(em as SqlEntityManager, this.now, first!.now as number, changes));
    });
    if (changes.length > 0) this.#options.onChanges?.(changes);
    history.proveStill(proof!);
    return result;
  }
}

/** SQL that turns a timestamp into milliseconds since the epoch, the same type on both drivers. */
export function ms(expression: string): string {
  return `(extract(epoch from ${expression}) * 1000)::float8`;
}

/** A column of milliseconds from a Row; null is undefined. */
export function msOf(value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : Math.round(value as number);
}

/** bytea is a Buffer on one driver and a Uint8Array on the other. */
export function bytesOf(value: unknown): Buffer {
  const bytes = value as Uint8Array;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @throws what the driver does, and DATABASE_UNAVAILABLE where a standby answers */
async function connect(orm: MikroORM): Promise<void> {
  const em = orm.em.fork() as AnyEntityManager & SqlEntityManager;
  refuseStandby(await em.execute<Row[]>("select pg_is_in_recovery() as in_recovery"));
}
