/**
 * Quotas of keys and secrets, counted without a lock, so that a caller at their quota is refused immediately. Another
 * call may change the count at the same time, so the later count under the lock decides.
 */
import type { AddSecret, IdempotencyKey, IssuingOwner } from "../../keys/key-store.ts";
import { DAY_MS } from "../../lib/clock.ts";
import type { ManagedDatabase } from "../database.ts";
import { toPlainOwner } from "./key-rows.ts";

/** How long ended keys still count, so that a caller can't avoid the quota by deleting and issuing keys. */
export const QUOTA_MEMORY_MS = DAY_MS;
/** How long a request_id is remembered. */
export const REQUEST_MEMORY_MS = DAY_MS;

type Request = Pick<IdempotencyKey, "callerId" | "requestId">;

export async function findIssuingOwner(
  database: ManagedDatabase,
  ownerId: string,
  request: Request | undefined,
): Promise<IssuingOwner | undefined> {
  const since = ago(database, QUOTA_MEMORY_MS);
  const [row] = await database.read(
    `select o.state as owner_state, o.tier as owner_tier, o.scopes as owner_scopes,
       (select count(*)::int from api_keys k where k.owner_id = o.id
          and (k.revoked_at is null or k.revoked_at > ${since})
          and (k.expires_at is null or k.expires_at > ${since})) as keys,
       ${isUsed(database)} as is_used
     from users o where o.id = ?`,
    [...parametersOf(request), ownerId],
  );
  if (row === undefined) return undefined;
  const keys = row.keys as number;
  return Object.freeze({ owner: toPlainOwner(ownerId, row), keys, isRequestUsed: row.is_used as boolean });
}

/** Whether a rotation would be refused because the key has too many live secrets, by a count without a lock. */
export async function hasTooManySecrets(
  database: ManagedDatabase,
  { keyId, expectedVersion, maxLiveSecrets, overlapMs, request }: AddSecret,
): Promise<boolean> {
  // Without an overlap all older secrets end, so there is a place.
  if (overlapMs === 0) return false;
  const { now } = database;
  const [row] = await database.read(
    `select count(*)::int as secrets, ${isUsed(database)} as is_used
     from key_secrets s join api_keys k on k.id = s.key_id
     where k.id = ? and k.version = ?::int and k.deleted_at is null and k.state <> 'revoked'
       and (k.expires_at is null or k.expires_at > ${now}) and (s.expires_at is null or s.expires_at > ${now})`,
    [...parametersOf(request), keyId, expectedVersion],
  );
  return (row!.secrets as number) >= maxLiveSecrets && !(row!.is_used as boolean);
}

/** SQL: whether a request_id was used. Parameters: `parametersOf` the request. */
function isUsed(database: ManagedDatabase): string {
  return `exists (select from key_requests r where r.caller_id = ?::text and r.request_id = ?::uuid
    and r.created_at >= ${ago(database, REQUEST_MEMORY_MS)})`;
}

function parametersOf(request: Request | undefined): readonly (string | null)[] {
  return [request?.callerId ?? null, request?.requestId ?? null];
}

function ago({ now }: ManagedDatabase, ms: number): string {
  return `${now} - interval '${ms} milliseconds'`;
}
