import type { AttemptOrigin, CountedFailure } from "../auth/throttle/login-failure-store.ts";
import { LOGIN_LIMITS } from "../auth/throttle/login-limits.ts";
import { ms, type Row } from "./database.ts";
import { mustHold } from "./locks.ts";
import type { Transaction } from "./transaction.ts";

/*
 * Attempts by where they come from: rows of login_addresses, one for an address and one for each network that it is in.
 * Those of networks count hashes alone.
 */

/** What one attempt counts as for its address. */
export type Counted = "a failure and a hash" | "a hash";

const WINDOW = span(LOGIN_LIMITS.addressWindowMs);

/** Under which names an attempt is counted in login_addresses, the widest network first and the address last. */
export function namesOf({ address, networks }: AttemptOrigin): string[] {
  return [...networks.map(({ name }) => name).reverse(), address];
}

/**
 * Names of the locks that make attempts of one account, address or network pass one after the other.
 *
 * @param origins names of networks and of an address, the widest first
 */
export function locksOf(accounts: readonly Uint8Array[], origins: readonly string[]): readonly string[] {
  const ofAccounts = accounts.map((digest) => `login-account ${hex(digest)}`).sort();
  return [...origins.map((name) => `login-address ${name}`), ...ofAccounts];
}

/**
 * Takes these locks until the transaction ends, since the first attempts have no row to lock yet. The order is always that
 * of `locksOf`, so that no two wait in a circle. Two processes may see the versions of the ring differently; then
 * `transact` tries the one again that PostgreSQL picks.
 */
export async function lock(tx: Transaction, names: readonly string[]): Promise<void> {
  for (const name of names) mustHold(tx, name);
  const locks = names.map(() => "pg_advisory_xact_lock(hashtextextended(?, 0)) is null");
  await tx.em.execute(`select ${locks.join(", ")}`, [...names]);
}

export function findOriginSql(now: string, origin: AttemptOrigin): [string, unknown[]] {
  const { columns, parameters } = originColumns(now, origin);
  return [`select ${ms(now)} as now_ms, 0 as of_account, 0 as of_network, ${columns}`, parameters];
}

/** Columns: times of the failures of an address within the window, and of the hashes of the address and of its networks. */
export function originColumns(now: string, { address, networks }: AttemptOrigin) {
  const isInWindow = `t > ${now} - ${span(LOGIN_LIMITS.addressWindowMs)}`;
  const timesOf = (column: string) => `(select json_agg(${ms("t")})::text from login_addresses, unnest(${column}) t
         where address = ? and ${isInWindow})`;
  const ofNetworks = networks.map((_, at) => `${timesOf("hashed_at")} as network_${at}_hashed_ms`);
  const columns = [
    `${timesOf("failed_at")} as address_failed_ms`,
    `${timesOf("hashed_at")} as address_hashed_ms`,
    ...ofNetworks,
    `${networks.length} as networks`,
  ].join(", ");
  return { columns, parameters: [address, address, ...networks.map(({ name }) => name)] };
}

/** The rest of what `originColumns` found. */
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
 * Counts an attempt for its address, and its hash for the networks. Of either kind no more times are kept than may be in a
 * window, since with as many in it nothing is counted.
 */
export function countForOrigin({ address, networks }: AttemptOrigin, now: string, of: Counted): [string, unknown[]] {
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

/** One of its times: two attempts of one address may have been counted in the same millisecond. */
export async function takeBackFromAddress(tx: Transaction, { address }: AttemptOrigin, { atMs }: CountedFailure) {
  await tx.em.execute(
    `update login_addresses a set failed_at = a.failed_at[:p.place - 1] || a.failed_at[p.place + 1:]
     from (select array_position(failed_at, ?::timestamptz(3)) as place from login_addresses where address = ?) p
     where a.address = ? and p.place is not null`,
    [iso(atMs), address, address],
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
