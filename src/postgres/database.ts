import { join } from "node:path";
import type { EntityManager as AnyEntityManager, MikroORM, Options } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import { MikroORM as PgliteOrm } from "@mikro-orm/pglite";
import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { SqlEntityManager } from "@mikro-orm/sql";
import type { AuditEntry } from "../audit/audit-event.ts";
import type { Change, ChangeKind } from "../changes/change.ts";
import { newId } from "../lib/id.ts";
import { faultOf, toDomainError } from "./conflicts.ts";
import { lockFolder } from "./folder-lock.ts";
import { withMigrationLock } from "./migration-lock.ts";
import { FirstSchema } from "./migrations/0001-first-schema.ts";
import { LoginThrottles } from "./migrations/0002-login-throttles.ts";
import { AuditEvents } from "./migrations/0003-audit-events.ts";
import { MasterKeyVersions } from "./migrations/0004-master-key-versions.ts";
import { destroySilent } from "./silent-connections.ts";
import { TABLES } from "./tables.ts";

export type DatabaseTarget =
  | {
      readonly kind: "postgres";
      readonly url: string;
      readonly poolSize: number;
      /** Longest that one statement may run, but for hot reads. Default 1 s. Also bounds waiting for a row's lock. */
      readonly statementTimeoutMs?: number;
    }
  /** PGlite in a folder of its own, which one process may use at a time. */
  | { readonly kind: "embedded"; readonly folder: string };

export interface DatabaseOptions {
  readonly target: DatabaseTarget;
  /** Is told of the changes of each transaction, after its COMMIT and before the call that made it returns. */
  readonly onChanges?: (changes: readonly Change[]) => void;
  /** Adds to the database's clock; only tests move it. */
  readonly timeShiftMs?: () => number;
}

/** A transaction in progress. */
export interface Transaction {
  readonly em: SqlEntityManager;
  /** The database's time at the beginning of the transaction, in whole milliseconds. */
  readonly now: Date;
  /** Tells all copies, on commit, that this changed. */
  changed(kind: ChangeKind, subjectId: string): Promise<void>;
  /** Puts on record what the transaction does. */
  record(entry: AuditEntry): Promise<void>;
}

interface Listenable {
  listen(channel: string, onSignal: () => void): Promise<() => Promise<void>>;
}

/** A row of a plain read. Times are selected as milliseconds (see `ms`), so that both drivers give the same types. */
export type Row = Record<string, unknown>;

const STATEMENT_TIMEOUT_MS = 1000;
/** A hot read that takes longer than this has met a frozen or dead server: the caller has 300 ms in all. */
const READ_TIMEOUT_MS = 120;
const READ_CONNECTIONS = 4;
const MAX_ATTEMPTS = 3;
/** Where the embedded database is in its data folder. */
export const EMBEDDED_FOLDER = "pgdata";
/** Signals on it say that a change was committed. */
export const CHANGES_CHANNEL = "latchkey_changes";

/** The connection to PostgreSQL, or to PGlite: the same schema, the same SQL. */
export class Database {
  readonly #orm: MikroORM;
  /** Hot reads have connections of their own that fail fast; PGlite has one connection for all. */
  readonly #reads: MikroORM;
  readonly #target: DatabaseTarget;
  readonly #timeShiftMs: () => number;
  readonly #onChanges: (changes: readonly Change[]) => void;
  readonly #unlock: () => void;

  private constructor(orm: MikroORM, reads: MikroORM, options: DatabaseOptions, unlock: () => void) {
    this.#orm = orm;
    this.#reads = reads;
    this.#target = options.target;
    this.#onChanges = options.onChanges ?? (() => {});
    this.#timeShiftMs = options.timeShiftMs ?? (() => 0);
    this.#unlock = unlock;
  }

  /** @throws DATABASE_UNAVAILABLE, or an Error that says who holds the folder of the embedded database */
  static async open(options: DatabaseOptions): Promise<Database> {
    const { target } = options;
    if (target.kind === "embedded") {
      const unlock = lockFolder(target.folder);
      try {
        const orm = await PgliteOrm.init({ ...ORM_OPTIONS, dbName: join(target.folder, EMBEDDED_FOLDER) } as never);
        await connect(orm);
        return new Database(orm, orm, options, unlock);
      } catch (error) {
        unlock();
        throw error;
      }
    }
    const orm = await PostgresOrm.init(managementOptions(target) as never);
    const reads = await PostgresOrm.init(readOptions(target) as never);
    try {
      await connect(orm);
      // Logging in takes several turns, and a busy process at its start has few: the first callers shall not wait for it.
      await Promise.allSettled(Array.from({ length: READ_CONNECTIONS }, () => connect(reads)));
      return new Database(orm, reads, options, () => {});
    } catch (error) {
      await Promise.allSettled([orm.close(true), reads.close(true)]);
      throw toDomainError(error);
    }
  }

  /** Applies what is missing of the schema. Several processes may call it at once: one applies, the others wait. */
  async migrate(): Promise<void> {
    await this.exclusively(() => this.#orm.migrator.up());
  }

  /** Runs `work` while no other process migrates or does anything else exclusively. The embedded database has no other. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#target.kind === "embedded" ? work() : withMigrationLock(this.#target.url, work);
  }

  get target(): DatabaseTarget {
    return this.#target;
  }

  /**
   * Runs one transaction (READ COMMITTED). Deadlocks and serialization failures are tried again from the start, so
   * `work` must have no effect outside the database.
   */
  async transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        const changes: Change[] = [];
        const root = this.#orm.em.fork() as SqlEntityManager;
        const result = await root.transactional(async (em) => work(await this.#begin(em as SqlEntityManager, changes)));
        if (changes.length > 0) this.#onChanges(changes);
        return result;
      } catch (error) {
        if (attempt < MAX_ATTEMPTS && faultOf(error) === "conflict") continue;
        throw toDomainError(error);
      }
    }
  }

  /** One statement on the connections for hot reads. `?` marks parameters; `now()` of ours is `this.now`. */
  async read(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return this.#execute(this.#reads, sql, parameters);
  }

  /** One statement, with the time that management may take; it may write. */
  async run(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return this.#execute(this.#orm, sql, parameters);
  }

  /** SQL for the database's time. Constant but in tests. */
  get now(): string {
    const shiftMs = this.#timeShiftMs();
    return shiftMs === 0 ? "statement_timestamp()" : `(statement_timestamp() + interval '${shiftMs} milliseconds')`;
  }

  /** On the embedded database: calls `onSignal` after each commit that wrote a change. @returns ends it */
  listen(onSignal: () => void): () => void {
    const connection = this.#orm.em.getConnection() as unknown as { getNativeClient(): Promise<Listenable> };
    const listening = connection.getNativeClient().then((native) => native.listen(CHANGES_CHANNEL, onSignal));
    return () => void listening.then((unlisten) => unlisten()).catch(() => {});
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#orm.close(true), ...(this.#reads === this.#orm ? [] : [this.#reads.close(true)])]);
    this.#unlock();
  }

  async #execute(orm: MikroORM, sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    try {
      return await (orm.em.fork() as SqlEntityManager).execute<Row[]>(sql, [...parameters]);
    } catch (error) {
      throw toDomainError(error);
    }
  }

  async #begin(em: SqlEntityManager, changes: Change[]): Promise<Transaction> {
    const [row] = await em.execute<Row[]>(`select ${ms(this.now)} as now`);
    return {
      em,
      now: new Date(Math.floor(row?.now as number)),
      changed: async (kind, subjectId) => {
        await em.execute("insert into changes (kind, subject_id) values (?, ?)", [kind, subjectId]);
        await em.execute("select pg_notify(?, '')", [CHANGES_CHANNEL]);
        changes.push({ kind, subjectId });
      },
      record: async (entry) => {
        await em.execute(
          `insert into audit_events (id, happened_at, kind, actor_id, subject_id, client_ip, details)
           values (?, ${this.now}, ?, ?, ?, ?, ?::jsonb)`,
          [
            newId("evt"),
            ...[entry.kind, entry.actorId, entry.subjectId, entry.clientIp],
            JSON.stringify(entry.details ?? {}),
          ],
        );
      },
    };
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

const ORM_OPTIONS = {
  entities: [...TABLES],
  extensions: [Migrator],
  migrations: {
    migrationsList: [FirstSchema, LoginThrottles, AuditEvents, MasterKeyVersions],
    snapshot: false,
    silent: true,
  },
  // The ORM's own log would print SQL and driver messages, which may quote values.
  logger: () => {},
  colors: false,
  metadataCache: { enabled: false },
} satisfies Partial<Options>;

function managementOptions(target: DatabaseTarget & { kind: "postgres" }) {
  const { statementTimeoutMs = STATEMENT_TIMEOUT_MS } = target;
  return {
    ...ORM_OPTIONS,
    clientUrl: target.url,
    pool: { min: 0, max: target.poolSize, idleTimeoutMillis: 30_000 },
    driverOptions: {
      keepAlive: true,
      connectionTimeoutMillis: 2000,
      statement_timeout: statementTimeoutMs,
      application_name: "latchkey",
      onPoolCreated: destroySilent(statementTimeoutMs + 500),
    },
  };
}

function readOptions(target: { url: string }) {
  return {
    ...ORM_OPTIONS,
    clientUrl: target.url,
    // Kept however quiet it is: 0 = no time is too long.
    pool: { min: 0, max: READ_CONNECTIONS, idleTimeoutMillis: 0 },
    driverOptions: {
      keepAlive: true,
      connectionTimeoutMillis: READ_TIMEOUT_MS,
      statement_timeout: READ_TIMEOUT_MS,
      application_name: "latchkey-reads",
      onPoolCreated: destroySilent(READ_TIMEOUT_MS + 20),
    },
  };
}

async function connect(orm: MikroORM): Promise<void> {
  await (orm.em.fork() as AnyEntityManager & SqlEntityManager).execute("select 1");
}
