import {
  type CountedFailure,
  type LoginSubject,
  MAX_KNOWN_ADDRESSES,
  MAX_KNOWN_NETWORKS,
} from "../../auth/throttle/login-failure-store.ts";
import { LOGIN_LIMITS, type LoginFailures, type OwnFailures } from "../../auth/throttle/login-limits.ts";
import { ms, msOf, type Row } from "../database.ts";
import type { Transaction } from "../transactions/transaction.ts";
import {
  countForOrigin,
  hex,
  iso,
  originColumns,
  originNames,
  type Sql,
  span,
  takeBackFromAddress,
  toOrigin,
} from "./login-address-rows.ts";

/*
 * Attempts by their account: rows of login_accounts, and of login_networks for each network, address and session that
 * an account was tried from. An account is named by its digest under each version of the master key.
 *
 * Each part of a statement names its values once, as columns of an item `p` of its FROM. PostgreSQL replaces `p` by
 * constants before it plans. That does not hold inside of `in (select ...)`, so no such part refers to `p`.
 */

const MEMORY = span(LOGIN_LIMITS.networkMemoryMs);
const KNOWN = span(LOGIN_LIMITS.knownNetworkMs);

export interface FoundFailures {
  readonly failures: LoginFailures;
  readonly nowMs: number;
}

export function findSql(now: string, subject: LoginSubject): Sql {
  const { network, address, session } = subject;
  const [accounts, digests] = accountsColumn(subject.accounts);
  const [origin, originValues] = originNames(subject);
  const isRemembered = `failed_at > ${now} - ${MEMORY}`;
  const sql = `select ${ms(now)} as now_ms, a.failures as of_account, n.*,
      o.*, ${session !== undefined} as has_session, ${originColumns(now, subject)}
    from ${origin},
      (select ${accounts}, ?::text as network, ?::text as address, ?::text as session) p,
      lateral (
        select coalesce(sum(failures), 0)::int as failures
        from login_accounts where account_digest = any(p.accounts)
      ) a,
      lateral (
        select coalesce(sum(failures) filter (where ${isRemembered}), 0)::int as of_network,
          ${ms("max(failed_at)")} as network_failed_ms, ${ms("max(logged_in_at)")} as network_logged_in_ms
        from login_networks where account_digest = any(p.accounts) and network = p.network
      ) n,
      lateral (
        select ${ms("max(logged_in_at)")} as address_logged_in_ms,
          coalesce(sum(failures) filter (where network = p.address), 0)::int as of_own_address,
          ${ms("max(failed_at) filter (where network = p.address)")} as own_address_failed_ms,
          coalesce(sum(failures) filter (where network = p.session), 0)::int as of_session,
          ${ms("max(failed_at) filter (where network = p.session)")} as session_failed_ms
        from login_networks where account_digest = any(p.accounts) and network in (p.address, p.session)
      ) o`;
  const own = [network, ownAddress(address), session === undefined ? null : ownSession(session)];
  return [sql, [...originValues, ...digests, ...own]];
}

export function toFound(row: Row | undefined): FoundFailures {
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

/**
 * The statement that counts an attempt. One statement counts everything, because the attempt holds a place for hashing
 * meanwhile.
 */
export function countSql(subject: LoginSubject, now: string): Sql {
  const ofOrigin = countForOrigin(subject, now, "a failure and a hash");
  if (!subject.isGuess) return ofOrigin;
  const { network, session } = subject;
  const parts = [
    ofOrigin,
    countForAccount(subject, now),
    countForOwnAddress(subject, now),
    ...(session === undefined ? [] : [countForNetwork(subject, ownSession(session), now, COUNT_FOR_SESSION)]),
  ];
  const [last, lastValues] = countForNetwork(subject, network, now, COUNT_FOR_NETWORK);
  const before = parts.map(([sql], at) => `part_${at} as (${sql})`).join(", ");
  return [`with ${before} ${last}`, [...parts.flatMap(([, values]) => values), ...lastValues]];
}

/** The name in login_networks of an address from which the account logged in. It counts failures only after that. */
const ownAddress = (address: string) => `address ${address}`;
/** The name in login_networks of a session whose refresh token came with attempts. */
const ownSession = (id: string) => `session ${id}`;

function countForAccount({ accounts, ringVersion }: LoginSubject, now: string): Sql {
  const sql = `insert into login_accounts as a (account_digest, ring_version, failures, failed_at)
    select p.digest, p.ring_version, 1, p.now
    from (select decode(?, 'hex') as digest, ?::int as ring_version, ?::timestamptz as now) p
    on conflict (account_digest) do update set
      ring_version = excluded.ring_version, failures = a.failures + 1, failed_at = excluded.failed_at`;
  return [sql, [hex(accounts[0]), ringVersion, now]];
}

/**
 * Counts a failure from an address from which the account logged in before. A network's row is forgotten after a day,
 * but this row stays, because the account may be closed to all other addresses for longer.
 */
function countForOwnAddress({ accounts, address }: LoginSubject, now: string): Sql {
  const [column, digests] = accountsColumn(accounts);
  const sql = `update login_networks n set failures = n.failures + 1, failed_at = p.now
    from (select ?::timestamptz as now, ?::text as network, ${column}) p
    where n.account_digest = any(p.accounts) and n.network = p.network and n.logged_in_at is not null`;
  return [sql, [now, ownAddress(address), ...digests]];
}

const COUNT_FOR_NETWORK = {
  forget: MEMORY,
  failures: `case when n.failed_at > excluded.failed_at - ${MEMORY} then n.failures + 1 else 1 end`,
  forgetAt: "greatest(n.forget_at, excluded.forget_at)",
};
const COUNT_FOR_SESSION = { forget: KNOWN, failures: "n.failures + 1", forgetAt: "excluded.forget_at" };

function countForNetwork(
  { accounts, ringVersion }: LoginSubject,
  network: string,
  now: string,
  { forget, failures, forgetAt }: typeof COUNT_FOR_NETWORK,
): Sql {
  const sql = `insert into login_networks as n
      (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
    select p.digest, p.ring_version, p.network, 1, p.now, null, p.now + ${forget}
    from (select decode(?, 'hex') as digest, ?::int as ring_version, ?::text as network, ?::timestamptz as now) p
    on conflict (account_digest, network) do update set
      ring_version = excluded.ring_version,
      failures = ${failures},
      failed_at = excluded.failed_at,
      forget_at = ${forgetAt}`;
  return [sql, [hex(accounts[0]), ringVersion, network, now]];
}

/** Takes back the counts of an attempt that succeeded, and notes the login. */
export async function noteSuccess(tx: Transaction, subject: LoginSubject, counted: CountedFailure): Promise<void> {
  await takeBackFromAddress(tx, subject, counted);
  await endRun(tx, subject, counted);
  await noteLogin(tx, subject);
}

/** Ends the account's run of failures. Failures that others added since this attempt was counted stay. */
async function endRun(tx: Transaction, { accounts, ringVersion }: LoginSubject, { atMs, ofAccount }: CountedFailure) {
  const rows = await tx.em.execute<Row[]>(...deleteAccountsSql(accounts, "a.failures"));
  const failures = rows.reduce((sum, row) => sum + (row.failures as number), 0);
  if (ofAccount === 0 || failures <= ofAccount) return;
  await tx.em.execute(
    `insert into login_accounts (account_digest, ring_version, failures, failed_at)
     values (decode(?, 'hex'), ?::int, ?::int, ?::timestamptz)`,
    [hex(accounts[0]), ringVersion, failures - ofAccount, iso(atMs)],
  );
}

/** Clears the failures of network, address and session, and notes network and address as known. */
async function noteLogin(tx: Transaction, subject: LoginSubject): Promise<void> {
  const { accounts, ringVersion, network, address, session } = subject;
  const [column, digests] = accountsColumn(accounts);
  const known = [network, ownAddress(address)];
  await tx.em.execute(
    `delete from login_networks n using (select ${column}, ?::text as network, ?::text as address, ?::text as session) p
     where n.account_digest = any(p.accounts) and n.network in (p.network, p.address, p.session)`,
    [...digests, ...known, session === undefined ? null : ownSession(session)],
  );
  await tx.em.execute(
    `insert into login_networks (account_digest, ring_version, network, failures, failed_at, logged_in_at, forget_at)
     select p.digest, p.ring_version, name, 0, null, p.now, p.now + ${KNOWN}
     from (select decode(?, 'hex') as digest, ?::int as ring_version, ?::timestamptz as now) p, unnest(array[?, ?]) name`,
    [hex(accounts[0]), ringVersion, tx.now.toISOString(), ...known],
  );
  for (const [which, most] of [
    ["not like", MAX_KNOWN_NETWORKS],
    ["like", MAX_KNOWN_ADDRESSES],
  ] as const) {
    await tx.em.execute(
      `delete from login_networks n using (select ${column}) p, lateral (
         select k.network from login_networks k
         where k.account_digest = any(p.accounts) and k.logged_in_at is not null and k.network ${which} 'address %'
         order by k.logged_in_at desc, k.network offset ${most}
       ) old
       where n.account_digest = any(p.accounts) and n.network = old.network`,
      digests,
    );
  }
}

/** Deletes the failures of the account. @param returned a column */
export function deleteAccountsSql(accounts: LoginSubject["accounts"], returned: string): [string, string[]] {
  const [column, digests] = accountsColumn(accounts);
  const sql = `delete from login_accounts a using (select ${column}) p
    where a.account_digest = any(p.accounts) returning ${returned}`;
  return [sql, digests];
}

/** Clears the failures of the account's networks. Known networks stay known. */
export function clearNetworksSql(accounts: LoginSubject["accounts"]): [string, string[]] {
  const [column, digests] = accountsColumn(accounts);
  const sql = `update login_networks n set failures = 0, failed_at = null from (select ${column}) p
    where n.account_digest = any(p.accounts) and n.failures > 0 returning 1 as one`;
  return [sql, digests];
}

/** SQL: the column `accounts`, with the account's digests under all versions of the master key. */
function accountsColumn(accounts: LoginSubject["accounts"]): [sql: string, digests: string[]] {
  return [`array[${accounts.map(() => "decode(?, 'hex')").join(", ")}] as accounts`, accounts.map(hex)];
}
