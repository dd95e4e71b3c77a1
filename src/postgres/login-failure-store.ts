import { actedBy } from "../audit/actor.ts";
import {
  type AttemptOrigin,
  type CountedFailure,
  type LoginFailureStore,
  type LoginSubject,
  MAX_KNOWN_ADDRESSES,
  MAX_KNOWN_NETWORKS,
  MAX_LOGIN_ROWS,
} from "../auth/throttle/login-failure-store.ts";
import {
  LOGIN_LIMITS,
  type LoginFailures,
  type LoginWait,
  type OwnFailures,
  waitOf,
  waitOfHash,
} from "../auth/throttle/login-limits.ts";
import { type Holder, networkHolder, ofKind } from "../shares/holder.ts";
import { type ManagedDatabase, ms, msOf, type Row } from "./database.ts";
import {
  type Counted,
  countForOrigin,
  findOriginSql,
  hex,
  iso,
  lock,
  locksOf,
  namesOf,
  originColumns,
  span,
  takeBackFromAddress,
  toOrigin,
} from "./login-address-rows.ts";
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
    const locks = locksOf(subject.accounts, namesOf(subject));
    return this.#underWay(subject).transact(locks, async (tx) => {
      await lock(tx, locks);
      // Read again, with a time of its own: the transaction's is that before the wait for the locks.
      const [row] = await tx.em.execute<Row[]>(...findSql(this.#database.now, subject));
      const { failures, nowMs } = toFound(row);
      const wait = waitOf(failures, nowMs, subject);
      if (wait !== undefined) return wait;
      await tx.em.execute(...countSql(subject, iso(nowMs)));
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
      await lock(tx, locks);
      const [row] = await tx.em.execute<Row[]>(...findOriginSql(this.#database.now, origin));
      const { failures, nowMs } = toFound(row);
      const wait = judge(failures, nowMs, origin);
      if (wait === undefined) await tx.em.execute(...countForOrigin(origin, iso(nowMs), of));
      return wait;
    });
  }

  async succeed(subject: LoginSubject, counted: CountedFailure): Promise<void> {
    const locks = locksOf(subject.accounts, [subject.address]);
    await this.#underWay(subject).transact(locks, async (tx) => {
      await lock(tx, locks);
      await takeBackFromAddress(tx, subject, counted);
      await endRun(tx, subject, counted);
      await noteLogin(tx, subject);
    });
  }

  async clear({ accounts, userId, by }: ClearInput): Promise<void> {
    const locks = locksOf(accounts, []);
    await this.#database.transact(locks, async (tx) => {
      await lock(tx, locks);
      const [own, digests] = ofAccounts(accounts);
      const cleared = await tx.em.execute<Row[]>(`delete from login_accounts where ${own} returning 1 as one`, digests);
      const networks = await tx.em.execute<Row[]>(
        `update login_networks set failures = 0, failed_at = null where ${own} and failures > 0 returning 1 as one`,
        digests,
      );
      if (cleared.length + networks.length === 0) return;
      await tx.record({ ...actedBy(by), kind: "user.login_failures_cleared", subjectId: userId });
    });
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
  #underWay(subject: AttemptOrigin): ManagedDatabase {
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
function attemptHolder(origin: AttemptOrigin): Holder {
  return ofKind(networkHolder(namesOf(origin)), "attempt");
}

function findSql(now: string, subject: LoginSubject): [string, unknown[]] {
  const { accounts, network, address, session } = subject;
  const [own, digests] = ofAccounts(accounts);
  const isRemembered = `failed_at > ${now} - ${span(LOGIN_LIMITS.networkMemoryMs)}`;
  const { columns, parameters } = originColumns(now, subject);
  const sql = `select ${ms(now)} as now_ms, a.failures as of_account, n.*,
      o.*, ${session !== undefined} as has_session, ${columns}
    from (select coalesce(sum(failures), 0)::int as failures from login_accounts where ${own}) a,
      (select coalesce(sum(failures) filter (where ${isRemembered}), 0)::int as of_network,
         ${ms("max(failed_at)")} as network_failed_ms, ${ms("max(logged_in_at)")} as network_logged_in_ms
       from login_networks where ${own} and network = ?) n,
      (select ${ms("max(logged_in_at)")} as address_logged_in_ms,
         coalesce(sum(failures) filter (where network = p.address), 0)::int as of_own_address,
         ${ms("max(failed_at) filter (where network = p.address)")} as own_address_failed_ms,
         coalesce(sum(failures) filter (where network = p.session), 0)::int as of_session,
         ${ms("max(failed_at) filter (where network = p.session)")} as session_failed_ms
       from (select ?::text as address, ?::text as session) p
         left join login_networks on ${own} and network in (p.address, p.session)) o`;
  const names = [ownAddress(address), session === undefined ? null : ownSession(session)];
  return [sql, [...parameters, ...digests, ...digests, network, ...names, ...digests]];
}

function toFound(row: Row | undefined): FoundFailures {
  const ofNetwork = row?.of_network as number;
  const nowMs = Math.floor(row?.now_ms as number);
  const failures = Object.freeze({
    ofAccount: row?.of_account as number,
    ofNetwork,
    networkFailedAtMs: ofNetwork === 0 ? undefined : msOf(row?.network_failed_ms),
    networkLoggedInAtMs: msOf(row?.network_logged_in_ms),
    own: Object.freeze(toOwn(row, nowMs)),
    ...toOrigin(row),
  });
  return { failures, nowMs };
}

function toOwn(row: Row | undefined, nowMs: number): OwnFailures[] {
  const loggedInAtMs = msOf(row?.address_logged_in_ms);
  const isKnownAddress = loggedInAtMs !== undefined && nowMs < loggedInAtMs + LOGIN_LIMITS.knownNetworkMs;
  const ofAddress = { failures: row?.of_own_address as number, failedAtMs: msOf(row?.own_address_failed_ms) };
  const ofSession = { failures: row?.of_session as number, failedAtMs: msOf(row?.session_failed_ms) };
  return [...(isKnownAddress ? [ofAddress] : []), ...(row?.has_session === true ? [ofSession] : [])];
}

/** One statement, since a place among the hashes is held meanwhile. */
function countSql(subject: LoginSubject, now: string): [string, unknown[]] {
  const { accounts, ringVersion, network, isGuess } = subject;
  const [ofOrigin, parameters] = countForOrigin(subject, now, "a failure and a hash");
  if (!isGuess) return [ofOrigin, parameters];
  const digest = hex(accounts[0]);
  const [own, digests] = ofAccounts(accounts);
  const ofOwn = [COUNT_FOR_OWN_ADDRESS.replace("$own", own)];
  const ownParameters: unknown[] = [now, ...digests, ownAddress(subject.address)];
  if (subject.session !== undefined) {
    ofOwn.push(COUNT_FOR_SESSION);
    ownParameters.push(digest, ringVersion, ownSession(subject.session), now, now);
  }
  const withOwn = ofOwn.map((sql, at) => `of_own_${at} as (${sql})`).join(", ");
  return [
    `with of_origin as (${ofOrigin}), of_account as (${COUNT_FOR_ACCOUNT}), ${withOwn} ${COUNT_FOR_NETWORK}`,
    [...parameters, digest, ringVersion, now, ...ownParameters, digest, ringVersion, network, now, now],
  ];
}

const MEMORY = span(LOGIN_LIMITS.networkMemoryMs);
const KNOWN = span(LOGIN_LIMITS.knownNetworkMs);

/** The name in login_networks of an address that logged in to the account. It counts failures only once it did. */
const ownAddress = (address: string) => `address ${address}`;
/** The name in login_networks of a session whose refresh token came with attempts. */
const ownSession = (id: string) => `session ${id}`;

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

/** Not forgotten after a day as a network's: this account may be closed to all others for longer. */
const COUNT_FOR_OWN_ADDRESS = `update login_networks set failures = failures + 1, failed_at = ?::timestamptz
  where $own and network = ? and logged_in_at is not null`;

const COUNT_FOR_SESSION = `insert into login_networks as s
    (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
  values (decode(?, 'hex'), ?::int, ?, 1, ?::timestamptz, null, ?::timestamptz + ${KNOWN})
  on conflict (account_digest, network) do update set
    ring_version = excluded.ring_version, failures = s.failures + 1,
    failed_at = excluded.failed_at, forget_at = excluded.forget_at`;

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

/** Network, address and session begin again without failures. */
async function noteLogin(tx: Transaction, subject: LoginSubject): Promise<void> {
  const { accounts, ringVersion, network, address, session } = subject;
  const [own, digests] = ofAccounts(accounts);
  const now = tx.now.toISOString();
  const known = [network, ownAddress(address)];
  const begun = session === undefined ? known : [...known, ownSession(session)];
  await tx.em.execute(`delete from login_networks where ${own} and network in (${begun.map(() => "?").join(", ")})`, [
    ...digests,
    ...begun,
  ]);
  const digest = hex(accounts[0]);
  await tx.em.execute(
    `insert into login_networks (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
     select decode(?, 'hex'), ?::int, name, 0, null, ?::timestamptz, ?::timestamptz + ${KNOWN}
     from unnest(array[?, ?]) name`,
    [digest, ringVersion, now, now, ...known],
  );
  for (const [which, most] of [
    ["not like", MAX_KNOWN_NETWORKS],
    ["like", MAX_KNOWN_ADDRESSES],
  ] as const) {
    await tx.em.execute(
      `delete from login_networks where ${own} and network in
         (select network from login_networks where ${own} and logged_in_at is not null and network ${which} 'address %'
            order by logged_in_at desc, network offset ${most})`,
      [...digests, ...digests],
    );
  }
}

/** SQL for "is of this account", under whichever version of the master key it was kept. */
function ofAccounts(accounts: LoginSubject["accounts"]): [sql: string, digests: string[]] {
  return [`account_digest in (${accounts.map(() => "decode(?, 'hex')").join(", ")})`, accounts.map(hex)];
}
