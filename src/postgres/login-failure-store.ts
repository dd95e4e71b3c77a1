import {
  type CountedFailure,
  type LoginFailureStore,
  type LoginSubject,
  MAX_KNOWN_NETWORKS,
  MAX_LOGIN_ROWS,
} from "../auth/login-failure-store.ts";
import { hashWaitMs, LOGIN_LIMITS, type LoginFailures, type LoginWait, waitOf } from "../auth/login-limits.ts";
import { addressHolder, type Holder, ofKind } from "../shares/holder.ts";
import { type ManagedDatabase, ms, msOf, type Row } from "./database.ts";
import { mustHold } from "./locks.ts";
import type { Transaction } from "./transaction.ts";

type ClearInput = Parameters<LoginFailureStore["clear"]>[0];

interface FoundFailures {
  readonly failures: LoginFailures;
  readonly nowMs: number;
}

/** Rows that one pruning removes of one table, so that it ends within the time of a statement. */
const PRUNE_ROWS = 20_000;

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
    return this.#underWay(subject).transact(
      async (tx) => {
        await lock(tx, subject.accounts, subject.address);
        // Read anew, with a time of its own: the transaction's is that before the wait for the locks.
        const [row] = await tx.em.execute<Row[]>(...findSql(this.#database.now, subject));
        const { failures, nowMs } = toFound(row);
        const wait = waitOf(failures, nowMs, subject);
        if (wait !== undefined) return wait;
        await tx.em.execute(...countSql(subject, iso(nowMs)));
        if (!subject.isGuess) return { atMs: nowMs, ofAccount: 0 };
        return { atMs: nowMs, ofAccount: failures.ofAccount + 1 };
      },
      locksOf(subject.accounts, subject.address),
    );
  }

  async countHash(subject: LoginSubject): Promise<LoginWait | undefined> {
    return this.#underWay(subject).transact(
      async (tx) => {
        await lock(tx, subject.accounts, subject.address);
        const [row] = await tx.em.execute<Row[]>(...findSql(this.#database.now, subject));
        const { failures, nowMs } = toFound(row);
        const retryAfterMs = hashWaitMs(failures, nowMs, subject.addressHashes);
        if (retryAfterMs !== undefined) return { retryAfterMs, of: "address" };
        const now = iso(nowMs);
        await tx.em.execute(countForAddress("a hash"), [subject.address, now, now]);
        return undefined;
      },
      locksOf(subject.accounts, subject.address),
    );
  }

  async succeed(subject: LoginSubject, counted: CountedFailure): Promise<void> {
    await this.#underWay(subject).transact(
      async (tx) => {
        await lock(tx, subject.accounts, subject.address);
        await takeBackFromAddress(tx, subject, counted);
        await endRun(tx, subject, counted);
        await noteLogin(tx, subject);
      },
      locksOf(subject.accounts, subject.address),
    );
  }

  async clear({ accounts, userId, by }: ClearInput): Promise<void> {
    await this.#database.transact(async (tx) => {
      await lock(tx, accounts);
      const [own, digests] = ofAccounts(accounts);
      const cleared = await tx.em.execute<Row[]>(`delete from login_accounts where ${own} returning 1 as one`, digests);
      const networks = await tx.em.execute<Row[]>(
        `update login_networks set failures = 0, failed_at = null where ${own} and failures > 0 returning 1 as one`,
        digests,
      );
      if (cleared.length + networks.length === 0) return;
      const { actorId, clientIp } = by;
      await tx.record({ kind: "user.login_failures_cleared", actorId, subjectId: userId, clientIp });
    }, locksOf(accounts));
  }

  async prune(): Promise<void> {
    const { now } = this.#database;
    for (const table of ["login_addresses", "login_networks"]) {
      await this.#database.write(
        `delete from ${table} where ctid in (select ctid from ${table} where forget_at < ${now} limit ${PRUNE_ROWS})`,
        [],
      );
    }
    await this.#cut("login_accounts", ["failures", "failed_at"]);
    await this.#cut("login_networks", ["forget_at"]);
  }

  /** For an attempt that was let in before: only `find` is refused for the length of a queue. */
  #underWay(subject: LoginSubject): ManagedDatabase {
    return this.#database.for({ holder: attemptHolder(subject), isUnderWay: true });
  }

  /** Removes what is behind the greatest so many. The index alone says where that begins. */
  async #cut(table: string, columns: readonly string[]): Promise<void> {
    const order = columns.map((column) => `${column} desc`).join(", ");
    await this.#database.write(
      `delete from ${table} where ctid in (select ctid from ${table} where (${columns.join(", ")}) <=
         (select ${columns.join(", ")} from ${table} order by ${order} offset ?::int limit 1) limit ${PRUNE_ROWS})`,
      [this.#maxRows],
    );
  }
}

/** The share of the address, whoever calls: an attempt is counted for it, also where its client has gone. */
function attemptHolder({ address }: LoginSubject): Holder {
  return ofKind(addressHolder(address.replace(/::\/64$/, "::")), "attempt");
}

/**
 * Makes those that touch the same account or address pass one after the other, until the transaction ends; also the
 * first ones, which have no row to lock yet. Always in the same order, so that nobody waits in a circle; should two
 * processes see the versions of the ring differently, `transact` tries the one that PostgreSQL picks again.
 */
async function lock(tx: Transaction, accounts: LoginSubject["accounts"], address?: string): Promise<void> {
  const names = locksOf(accounts, address);
  for (const name of names) mustHold(tx, name);
  const locks = names.map(() => "pg_advisory_xact_lock(hashtextextended(?, 0)) is null");
  await tx.em.execute(`select ${locks.join(", ")}`, names);
}

function locksOf(accounts: LoginSubject["accounts"], address?: string): string[] {
  const names = accounts.map((digest) => `login-account ${hex(digest)}`).sort();
  if (address !== undefined) names.unshift(`login-address ${address}`);
  return names;
}

function findSql(now: string, { accounts, network, address }: LoginSubject): [string, unknown[]] {
  const [own, digests] = ofAccounts(accounts);
  const isRemembered = `failed_at > ${now} - ${span(LOGIN_LIMITS.networkMemoryMs)}`;
  const isInWindow = `t > ${now} - ${span(LOGIN_LIMITS.addressWindowMs)}`;
  const timesOf = (column: string) => `(select json_agg(${ms("t")})::text from login_addresses, unnest(${column}) t
         where address = ? and ${isInWindow})`;
  const sql = `select ${ms(now)} as now_ms, a.failures as of_account, n.*,
      ${timesOf("failed_at")} as address_failed_ms, ${timesOf("hashed_at")} as address_hashed_ms
    from (select coalesce(sum(failures), 0)::int as failures from login_accounts where ${own}) a,
      (select coalesce(sum(failures) filter (where ${isRemembered}), 0)::int as of_network,
         ${ms("max(failed_at)")} as network_failed_ms, ${ms("max(logged_in_at)")} as network_logged_in_ms
       from login_networks where ${own} and network = ?) n`;
  return [sql, [address, address, ...digests, ...digests, network]];
}

function toFound(row: Row | undefined): FoundFailures {
  const times = (column: string) => JSON.parse((row?.[column] as string | null) ?? "[]") as number[];
  const ofNetwork = row?.of_network as number;
  const failures = Object.freeze({
    ofAccount: row?.of_account as number,
    ofNetwork,
    networkFailedAtMs: ofNetwork === 0 ? undefined : msOf(row?.network_failed_ms),
    networkLoggedInAtMs: msOf(row?.network_logged_in_ms),
    addressFailedAtMs: Object.freeze(times("address_failed_ms").map(Math.round)),
    addressHashedAtMs: Object.freeze(times("address_hashed_ms").map(Math.round)),
  });
  return { failures, nowMs: Math.floor(row?.now_ms as number) };
}

/** One statement, since a place among the hashes is held meanwhile. */
function countSql(subject: LoginSubject, now: string): [string, unknown[]] {
  const { accounts, ringVersion, network, address, isGuess } = subject;
  const ofAddress = countForAddress("a failure and a hash");
  if (!isGuess) return [ofAddress, [address, now, now]];
  const digest = hex(accounts[0]);
  return [
    `with of_address as (${ofAddress}), of_account as (${COUNT_FOR_ACCOUNT}) ${COUNT_FOR_NETWORK}`,
    [address, now, now, digest, ringVersion, now, digest, ringVersion, network, now, now],
  ];
}

const WINDOW = span(LOGIN_LIMITS.addressWindowMs);
const MEMORY = span(LOGIN_LIMITS.networkMemoryMs);

/** Of either kind no more times are kept than may be in a window, since with as many in it nothing is counted. */
function countForAddress(of: "a failure and a hash" | "a hash"): string {
  const failed = of === "a hash" ? "'{}'::timestamptz[]" : "array[p.now]";
  const kept = (column: string) =>
    `array(select t from unnest(a.${column}) t where t > excluded.forget_at - 2 * ${WINDOW})`;
  return `insert into login_addresses as a (address, failed_at, hashed_at, forget_at)
    select ?, ${failed}, array[p.now], ?::timestamptz + ${WINDOW} from (select ?::timestamptz as now) p
    on conflict (address) do update set
      failed_at = ${kept("failed_at")} || excluded.failed_at,
      hashed_at = ${kept("hashed_at")} || excluded.hashed_at,
      forget_at = excluded.forget_at`;
}

const COUNT_FOR_ACCOUNT = `insert into login_accounts as a (account_digest, ring_version, failures, failed_at)
  values (decode(?, 'hex'), ?::int, 1, ?::timestamptz)
  on conflict (account_digest) do update set
    ring_version = excluded.ring_version, failures = a.failures + 1, failed_at = excluded.failed_at`;

const COUNT_FOR_NETWORK = `insert into login_networks as n
    (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
  values (decode(?, 'hex'), ?::int, ?, 1, ?::timestamptz, null, ?::timestamptz + ${MEMORY})
  on conflict (account_digest, network) do update set
    ring_version = excluded.ring_version,
    failures = case when n.failed_at > excluded.failed_at - ${MEMORY} then n.failures + 1 else 1 end,
    failed_at = excluded.failed_at,
    forget_at = greatest(n.forget_at, excluded.forget_at)`;

/** One of its times: two attempts of one address may have been counted in the same millisecond. */
async function takeBackFromAddress(tx: Transaction, { address }: LoginSubject, { atMs }: CountedFailure) {
  await tx.em.execute(
    `update login_addresses a set failed_at = a.failed_at[:p.place - 1] || a.failed_at[p.place + 1:]
     from (select array_position(failed_at, ?::timestamptz(3)) as place from login_addresses where address = ?) p
     where a.address = ? and p.place is not null`,
    [iso(atMs), address, address],
  );
}

/** What others failed since this one was counted goes on. */
async function endRun(tx: Transaction, { accounts, ringVersion }: LoginSubject, { atMs, ofAccount }: CountedFailure) {
  const [own, digests] = ofAccounts(accounts);
  const rows = await tx.em.execute<Row[]>(`delete from login_accounts where ${own} returning failures`, digests);
  const failures = rows.reduce((sum, row) => sum + (row.failures as number), 0);
  if (ofAccount === 0 || failures <= ofAccount) return;
  await tx.em.execute(
    `insert into login_accounts (account_digest, ring_version, failures, failed_at)
     values (decode(?, 'hex'), ?::int, ?::int, ?::timestamptz)`,
    [hex(accounts[0]), ringVersion, failures - ofAccount, iso(atMs)],
  );
}

async function noteLogin(tx: Transaction, { accounts, ringVersion, network }: LoginSubject): Promise<void> {
  const [own, digests] = ofAccounts(accounts);
  const now = tx.now.toISOString();
  await tx.em.execute(`delete from login_networks where ${own} and network = ?`, [...digests, network]);
  await tx.em.execute(
    `insert into login_networks (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
     values (decode(?, 'hex'), ?::int, ?, 0, null, ?::timestamptz, ?::timestamptz + ${span(LOGIN_LIMITS.knownNetworkMs)})`,
    [hex(accounts[0]), ringVersion, network, now, now],
  );
  await tx.em.execute(
    `delete from login_networks where ${own} and network in
       (select network from login_networks where ${own} and logged_in_at is not null
          order by logged_in_at desc, network offset ${MAX_KNOWN_NETWORKS})`,
    [...digests, ...digests],
  );
}

/** SQL for "is of this account", under whichever version of the master key it was kept. */
function ofAccounts(accounts: LoginSubject["accounts"]): [sql: string, digests: string[]] {
  return [`account_digest in (${accounts.map(() => "decode(?, 'hex')").join(", ")})`, accounts.map(hex)];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function span(milliseconds: number): string {
  return `interval '${milliseconds} milliseconds'`;
}
