/**
 * Quotas of keys and secrets by a plain count, without a lock: a caller that is at its quota is refused here at once.
 * Another call may change the count at the same moment, so the count under the lock decides.
 */
import type { AddSecret, IdempotencyKey, IssuingOwner } from "../keys/key-store.ts";
import { DAY_MS } from "../lib/clock.ts";
import type { ManagedDatabase } from "./database.ts";
import { toPlainOwner } from "./key-rows.ts";

/** Ended keys count against the quota for this long, so that delete-and-issue is no way around it. */
export const QUOTA_MEMORY_MS = DAY_MS;
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

/** Whether a rotation would be refused for want of a place, as far as a look without the lock can tell. */
export async function hasTooManySecrets(
  database: ManagedDatabase,
  { keyId, expectedVersion, maxLiveSecrets, overlapMs, request }: AddSecret,
): Promise<boolean> {
  // Without an overlap all older secrets end, and there is a place.
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

/** SQL for whether a retry's name was used. Parameters: `parametersOf` the request. */
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
