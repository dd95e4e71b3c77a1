import type { AttemptOrigin, CountedFailure } from "../../auth/throttle/login-failure-store.ts";
import { LOGIN_LIMITS } from "../../auth/throttle/login-limits.ts";
import { ms, type Row } from "../database.ts";
import { mustHold } from "../transactions/locks.ts";
import type { Transaction } from "../transactions/transaction.ts";

/*
 * Attempts by their origin: rows of login_addresses, one for an address and one for each network that contains it. The
 * rows of networks count only password hashes.
 */

/** A statement, or a part of one, with the values of its `?`. */
export type Sql = readonly [text: string, values: readonly unknown[]];

/** The count that one attempt adds for its address. */
export type Counted = "a failure and a hash" | "a hash";

const WINDOW = span(LOGIN_LIMITS.addressWindowMs);

/** The names under which login_addresses counts an attempt: the widest network first, the address last. */
export function namesOf({ address, networks }: AttemptOrigin): string[] {
  return [...networks.map(({ name }) => name).reverse(), address];
}

/**
 * Names of the locks that make attempts of one account, address or network run one after another.
 *
 * @param origins names of networks and of an address, the widest first
 */
export function locksOf(accounts: readonly Uint8Array[], origins: readonly string[]): readonly string[] {
  const ofAccounts = accounts.map((digest) => `login-account ${hex(digest)}`).sort();
  return [...origins.map((name) => `login-address ${name}`), ...ofAccounts];
}

/**
 * Takes these advisory locks until the transaction ends, because the first attempts have no row to lock yet. The order
 * is always that of `locksOf`, so that no two transactions of a process deadlock. Two processes may know different
 * versions of the key ring. If they deadlock, `transact` runs the victim that PostgreSQL chose again.
 */
export async function takeLocks(tx: Transaction, names: readonly string[]): Promise<void> {
  for (const name of names) mustHold(tx, name);
  const locks = names.map(() => "pg_advisory_xact_lock(hashtextextended(?, 0)) is null");
  await tx.em.execute(`select ${locks.join(", ")}`, [...names]);
}

export function findOriginSql(now: string, origin: AttemptOrigin): Sql {
  const [names, values] = originNames(origin);
  const columns = originColumns(now, origin);
  return [`select ${ms(now)} as now_ms, 0 as of_account, 0 as of_network, ${columns} from ${names}`, values];
}

/** SQL: the item `origin` of a FROM, which names the address and its networks for `originColumns`. */
export function originNames({ address, networks }: AttemptOrigin): Sql {
  const columns = ["?::text as address", ...networks.map((_, at) => `?::text as network_${at}`)];
  return [`(select ${columns.join(", ")}) origin`, [address, ...networks.map(({ name }) => name)]];
}

/**
 * SQL: columns with the times of an address's failures within the window, and of the hashes of the address and of its
 * networks.
 */
export function originColumns(now: string, { networks }: AttemptOrigin): string {
  const timesOf = (column: string, name: string) => `(select json_agg(${ms("t")})::text
         from login_addresses a, unnest(a.${column}) t where a.address = origin.${name} and t > ${now} - ${WINDOW})`;
  return [
    `${timesOf("failed_at", "address")} as address_failed_ms`,
    `${timesOf("hashed_at", "address")} as address_hashed_ms`,
    ...networks.map((_, at) => `${timesOf("hashed_at", `network_${at}`)} as network_${at}_hashed_ms`),
    `${networks.length} as networks`,
  ].join(", ");
}

/** The values of the columns of `originColumns`. */
export function toOrigin(row: Row | undefined) {
  const times = (column: string) => {
    const found = JSON.parse((row?.[column] as string | null) ?? "[]") as number[];
    return Object.freeze(found.map(Math.round));
  };
  const networks = Array.from({ length: row?.networks as number }, (_, at) => times(`network_${at}_hashed_ms`));
  return {
    addressFailedAtMs: times("address_failed_ms"),
    addressHashedAtMs: times("address_hashed_ms"),
    networkHashedAtMs: Object.freeze(networks),
  };
}

/**
 * Counts an attempt for its address, and its hash for the networks. A row keeps at most as many times of each kind as
 * the limit allows in a window, because above the limit no attempt is counted.
 */
export function countForOrigin({ address, networks }: AttemptOrigin, now: string, of: Counted): Sql {
  const kept = (column: string) =>
    `array(select t from unnest(a.${column}) t where t > excluded.forget_at - 2 * ${WINDOW})`;
  const names = [{ name: address, isFailed: of === "a failure and a hash" }, ...networks];
  const rows = names.map(({ name, isFailed = false }: { name: string; isFailed?: boolean }) => [name, isFailed]);
  const sql = `insert into login_addresses as a (address, failed_at, hashed_at, forget_at)
    select o.name, case when o.is_failed then array[p.now] else '{}' end, array[p.now], p.now + ${WINDOW}
    from (select ?::timestamptz as now) p, (values ${rows.map(() => "(?::text, ?::boolean)").join(", ")}) o (name, is_failed)
    on conflict (address) do update set
      failed_at = ${kept("failed_at")} || excluded.failed_at,
      hashed_at = ${kept("hashed_at")} || excluded.hashed_at,
      forget_at = excluded.forget_at`;
  return [sql, [now, ...rows.flat()]];
}

/** Removes one failure of that time from the address. Two attempts may have been counted in the same millisecond. */
export async function takeBackFromAddress(tx: Transaction, { address }: AttemptOrigin, { atMs }: CountedFailure) {
  await tx.em.execute(
    `update login_addresses a set failed_at = a.failed_at[:p.place - 1] || a.failed_at[p.place + 1:]
     from (
       select address, array_position(failed_at, ?::timestamptz(3)) as place from login_addresses where address = ?
     ) p
     where a.address = p.address and p.place is not null`,
    [iso(atMs), address],
  );
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

export function span(milliseconds: number): string {
  return `interval '${milliseconds} milliseconds'`;
}
