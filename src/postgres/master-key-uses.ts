import { type ManagedDatabase, ms, msOf } from "./database.ts";

/** What is kept under a version of the master key, each a column of the count. */
export const MASTER_KEY_USES = [
  /** Of API keys that may still be good. */
  "api_key_secrets",
  "service_credential_secrets",
  /** That can still be refreshed. */
  "sessions",
  "password_hashes",
  /** That may still sign or verify something. */
  "signing_keys",
  /** That can still be used. */
  "reset_tokens",
  /** Known networks and addresses of accounts, and networks and sessions that failed lately. */
  "login_networks",
  /** Accounts with failed logins in a row. */
  "login_failures",
  /** Of keys and credentials that ended, and such as a rotation ended. */
  "ended_secrets",
] as const;

export type MasterKeyUse = (typeof MASTER_KEY_USES)[number];

/** Without their version these are UNAVAILABLE, refused or weaker; the others are only forgotten. */
export const NEEDED_USES: readonly MasterKeyUse[] = MASTER_KEY_USES.slice(0, -2);

/** How much of one kind is kept under one version. */
export interface MasterKeyCount {
  /** 0 = of an unknown version: what was kept before rows said so. */
  readonly version: number;
  readonly use: MasterKeyUse;
  readonly count: number;
  /** When all of it has ended by itself, at the latest; undefined if some of it has no end. */
  readonly endsAtMs: number | undefined;
}

/**
 * Counts what is kept under each version of the master key, as one statement sees it. It reads whole tables.
 *
 * @param versions only these, which spares it much where little is kept under them
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

/** One row for each use: version, use, ends_at. */
function usesSql(now: string): string {
  const secretEnd = "least(k.expires_at, s.expires_at)";
  const isOver = `k.state = 'revoked' or k.deleted_at is not null or coalesce(${secretEnd} <= ${now}, false)`;
  // As long as PostgresSigningKeyStore.list() shows them.
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
