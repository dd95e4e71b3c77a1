import { type ManagedDatabase, ms, msOf } from "../database.ts";

/** The kinds of data that are kept under a version of the master key. Each is a column of the count. */
export const MASTER_KEY_USES = [
  /** Secrets of API keys that may still be good. */
  "api_key_secrets",
  "service_credential_secrets",
  /** Sessions that can still be refreshed. */
  "sessions",
  "password_hashes",
  /** Signing keys that may still sign or verify. */
  "signing_keys",
  /** Reset tokens that can still be used. */
  "reset_tokens",
  /** Known networks and addresses of accounts, and networks and sessions that failed lately. */
  "login_networks",
  /** Accounts with failed logins in a row. */
  "login_failures",
  /** Secrets of ended keys and credentials, and secrets that a rotation ended. */
  "ended_secrets",
] as const;

export type MasterKeyUse = (typeof MASTER_KEY_USES)[number];

/**
 * Uses that need their version of the master key: without it they are UNAVAILABLE, refused or weaker. The other uses
 * are only forgotten.
 */
export const NEEDED_USES: readonly MasterKeyUse[] = MASTER_KEY_USES.slice(0, -2);

/** The amount of one kind that is kept under one version. */
export interface MasterKeyCount {
  /** 0 = unknown: the rows are from before the version was a column. */
  readonly version: number;
  readonly use: MasterKeyUse;
  readonly count: number;
  /** The time by which all of it has ended by itself; undefined if some of it has no end. */
  readonly endsAtMs: number | undefined;
}

/**
 * Counts what is kept under each version of the master key, in one statement. It reads whole tables.
 *
 * @param versions counts only these, which is faster if little is kept under them
 */
export async function countMasterKeyUses(
  database: ManagedDatabase,
  versions?: readonly number[],
): Promise<MasterKeyCount[]> {
  const ofVersions = versions === undefined ? "" : `where version in (${versions.join(", ")})`;
  const rows = await database.read(
    `select version, use, count(*)::int as count,
       case when bool_and(ends_at is not null) then ${ms("max(ends_at)")} end as ends_ms
     from (${usesSql(database.now)}) uses ${ofVersions} group by version, use order by version, use`,
    [],
  );
  return rows.map((row) =>
    Object.freeze({
      version: row.version as number,
      use: row.use as MasterKeyUse,
      count: row.count as number,
      endsAtMs: msOf(row.ends_ms),
    }),
  );
}

/** SQL: one row for each thing that is kept: version, use, ends_at. */
function usesSql(now: string): string {
  const secretEnd = "least(k.expires_at, s.expires_at)";
  const isOver = `k.state = 'revoked' or k.deleted_at is not null or coalesce(${secretEnd} <= ${now}, false)`;
  // The same time as in PostgresSigningKeyStore.list().
  const signingKeyEnd = "retires_at + interval '2 days'";
  return `select s.pepper_version as version, case when ${isOver} then 'ended_secrets'
       when k.kind = 'service' then 'service_credential_secrets' else 'api_key_secrets' end as use,
       ${secretEnd} as ends_at
     from key_secrets s join api_keys k on k.id = s.key_id
   union all select ring_version, 'sessions', expires_at from sessions
     where ended_at is null and idle_expires_at > ${now}
   union all select split_part(password_hash, '$', 1)::int, 'password_hashes', null from users
     where password_hash ~ '^[1-9][0-9]{0,3}[$]'
   union all select seal_version, 'signing_keys', ${signingKeyEnd} from signing_keys
     where revoked_at is null and coalesce(${signingKeyEnd} > ${now}, true)
   union all select ring_version, 'reset_tokens', expires_at from password_resets
     where used_at is null and expires_at > ${now}
   union all select ring_version, 'login_networks', forget_at from login_networks where forget_at > ${now}
   union all select ring_version, 'login_failures', null from login_accounts`;
}
