import { actedBy } from "../../audit/actor.ts";
import {
  type AttemptOrigin,
  type CountedFailure,
  type LoginFailureStore,
  type LoginSubject,
  MAX_LOGIN_ROWS,
} from "../../auth/throttle/login-failure-store.ts";
import { type LoginWait, waitOf, waitOfHash } from "../../auth/throttle/login-limits.ts";
import { type Holder, networkHolder, ofKind } from "../../shares/holder.ts";
import type { ManagedDatabase, Row } from "../database.ts";
import { deleteOldest, inPlaces, MAX_DELETED, MAY_PRUNE } from "../delete-oldest.ts";
import {
  type Counted,
  countForOrigin,
  findOriginSql,
  iso,
  locksOf,
  namesOf,
  type Sql,
  takeLocks,
} from "../rows/login-address-rows.ts";
import {
  clearNetworksSql,
  countSql,
  deleteAccountsSql,
  type FoundFailures,
  findSql,
  noteSuccess,
  toFound,
} from "../rows/login-failure-rows.ts";
import type { Transaction } from "../transactions/transaction.ts";

type ClearInput = Parameters<LoginFailureStore["clear"]>[0];

export class PostgresLoginFailureStore implements LoginFailureStore {
  readonly #database: ManagedDatabase;
  readonly #maxRows: number;

  constructor(database: ManagedDatabase, maxRows = MAX_LOGIN_ROWS) {
    this.#database = database;
    this.#maxRows = maxRows;
  }

  async find(subject: LoginSubject): Promise<FoundFailures> {
    const database = this.#database.for({ holder: attemptHolder(subject) });
    const [row] = await database.read(...findSql(database.now, subject));
    return toFound(row);
  }

  async count(subject: LoginSubject): Promise<CountedFailure | LoginWait> {
    const locks = locksOf(subject.accounts, namesOf(subject));
    return this.#underWay(subject).transact(locks, async (tx) => {
      await takeLocks(tx, locks);
      // Read again with a newer time: the transaction's time is from before the wait for the locks.
      const { failures, nowMs } = await find(tx, findSql(this.#database.now, subject));
      const wait = waitOf(failures, nowMs, subject);
      if (wait !== undefined) return wait;
      await run(tx, countSql(subject, iso(nowMs)));
      if (!subject.isGuess) return { atMs: nowMs, ofAccount: 0 };
      return { atMs: nowMs, ofAccount: failures.ofAccount + 1 };
    });
  }

  countHash(origin: AttemptOrigin): Promise<LoginWait | undefined> {
    return this.#countForOrigin(origin, waitOfHash, "a hash");
  }

  countMiss(origin: AttemptOrigin): Promise<LoginWait | undefined> {
    return this.#countForOrigin({ ...origin, isGuess: false }, waitOf, "a failure and a hash");
  }

  #countForOrigin(origin: AttemptOrigin, judge: typeof waitOf, of: Counted): Promise<LoginWait | undefined> {
    const locks = locksOf([], namesOf(origin));
    return this.#underWay(origin).transact(locks, async (tx) => {
      await takeLocks(tx, locks);
      const { failures, nowMs } = await find(tx, findOriginSql(this.#database.now, origin));
      const wait = judge(failures, nowMs, origin);
      if (wait === undefined) await run(tx, countForOrigin(origin, iso(nowMs), of));
      return wait;
    });
  }

  async succeed(subject: LoginSubject, counted: CountedFailure): Promise<void> {
    const locks = locksOf(subject.accounts, [subject.address]);
    await this.#underWay(subject).transact(locks, async (tx) => {
      await takeLocks(tx, locks);
      await noteSuccess(tx, subject, counted);
    });
  }

  async clear({ accounts, userId, by }: ClearInput): Promise<void> {
    const locks = locksOf(accounts, []);
    await this.#database.transact(locks, async (tx) => {
      await takeLocks(tx, locks);
      const cleared = await tx.em.execute<Row[]>(...deleteAccountsSql(accounts, "1 as one"));
      const networks = await tx.em.execute<Row[]>(...clearNetworksSql(accounts));
      if (cleared.length + networks.length === 0) return;
      await tx.record({ ...actedBy(by), kind: "user.login_failures_cleared", subjectId: userId });
    });
  }

  async prune(): Promise<boolean> {
    const database = this.#database;
    if (await deleteOldest(database, "login_addresses", 0)) return true;
    if (await deleteOldest(database, "login_networks", 0)) return true;
    if (await this.#cut("login_accounts", ["failures", "failed_at"])) return true;
    return this.#cut("login_networks", ["forget_at"]);
  }

  /** The database for an attempt that was admitted before. Only `find` may be refused because of a long queue. */
  #underWay(subject: AttemptOrigin): ManagedDatabase {
    return this.#database.for({ holder: attemptHolder(subject), isUnderWay: true });
  }

  /**
   * Keeps the `#maxRows` greatest rows of a table, and deletes some of the others. The index alone finds where they
   * begin.
   *
   * @returns whether more are left for this process
   */
  async #cut(table: string, columns: readonly string[]): Promise<boolean> {
    const order = columns.map((column) => `${column} desc`).join(", ");
    const others = `select ctid from ${table} where ${MAY_PRUNE} and (${columns.join(", ")}) <=
      (select ${columns.join(", ")} from ${table} order by ${order} offset ?::int limit 1)
      order by ${order} limit ${MAX_DELETED} for update skip locked`;
    const deleted = await this.#database.write(`delete from ${table} where ${inPlaces(others)}`, [this.#maxRows]);
    return deleted === MAX_DELETED;
  }
}

/** The address's own share of the database: an attempt is counted for its address, even if its client has left. */
function attemptHolder(origin: AttemptOrigin): Holder {
  return ofKind(networkHolder(namesOf(origin)), "attempt");
}

async function find(tx: Transaction, sql: Sql): Promise<FoundFailures> {
  const [row] = await run(tx, sql);
  return toFound(row);
}

function run(tx: Transaction, [sql, values]: Sql): Promise<Row[]> {
  return tx.em.execute<Row[]>(sql, [...values]);
}
