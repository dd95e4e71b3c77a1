import type { Key, KeyOwner, KeySecretDigest } from "../keys/key.ts";
import type { KeyWithSecrets } from "../keys/key-store.ts";
import { bytesOf, ms, msOf, type Row } from "./database.ts";
import type { RecordsById } from "./grouped-reads.ts";
import type { KeyRow, UserRow } from "./tables.ts";

/** From an entity to the room's record. */
export function toKey(row: KeyRow): Key {
  return Object.freeze({
    id: row.id,
    kind: row.kind,
    environment: row.environment,
    name: row.name,
    description: row.description,
    prefix: row.prefix,
    ownerId: row.ownerId ?? undefined,
    issuerId: row.issuerId,
    tier: row.tier,
    scopes: Object.freeze([...row.scopes]),
    metadata: Object.freeze({ ...row.metadata }),
    allowedIps: Object.freeze([...row.allowedIps]),
    allowedMethods: Object.freeze([...row.allowedMethods]),
    limits: Object.freeze({ perMinute: row.limitPerMinute ?? undefined, perDay: row.limitPerDay ?? undefined }),
    state: row.state,
    disabledBy: row.disabledBy ?? undefined,
    serviceControlled: row.serviceControlled,
    createdAtMs: row.createdAt.getTime(),
    expiresAtMs: row.expiresAt?.getTime(),
    revokedAtMs: row.revokedAt?.getTime(),
    lastUsedAtMs: row.lastUsedAt?.getTime(),
    version: row.version,
  });
}

export function toOwner(row: UserRow): KeyOwner {
  return Object.freeze({ id: row.id, state: row.state, tier: row.tier, scopes: Object.freeze([...row.scopes]) });
}

/** The hot read: one row for each secret, with key and owner beside it. Deleted keys are left out. */
export const KEYS_WITH_SECRETS: RecordsById<KeyWithSecrets> = {
  sql: `select k.id, k.kind, k.environment, k.name, k.description, k.prefix, k.owner_id, k.issuer_id, k.tier, k.scopes,
      k.metadata, k.allowed_ips, k.allowed_methods, k.limit_per_minute, k.limit_per_day, k.state, k.disabled_by,
      k.service_controlled, k.version, ${ms("k.created_at")} as created_ms, ${ms("k.expires_at")} as expires_ms,
      ${ms("k.revoked_at")} as revoked_ms, ${ms("k.last_used_at")} as used_ms,
      o.state as owner_state, o.tier as owner_tier, o.scopes as owner_scopes,
      s.digest, s.pepper_version, ${ms("s.expires_at")} as secret_expires_ms
    from api_keys k
    join key_secrets s on s.key_id = k.id
    left join users o on o.id = k.owner_id
    where k.id = any(?::text[]) and k.deleted_at is null`,
  toRecords: toKeysWithSecrets,
  // Of the connections for hot reads one is left to everybody else.
  maxUnderWay: 3,
};

/** Gathers the rows by key. */
function toKeysWithSecrets(rows: readonly Row[]): ReadonlyMap<string, KeyWithSecrets> {
  const keys = new Map<string, { key: Key; owner: KeyOwner | undefined; secrets: KeySecretDigest[] }>();
  for (const row of rows) {
    const id = row.id as string;
    const entry = keys.get(id) ?? { key: plainKey(row), owner: plainOwner(row), secrets: [] };
    keys.set(id, entry);
    entry.secrets.push({
      digest: Buffer.from(bytesOf(row.digest)),
      pepperVersion: row.pepper_version as number,
      expiresAtMs: msOf(row.secret_expires_ms),
    });
  }
  return keys;
}

function plainKey(row: Row): Key {
  return Object.freeze({
    id: row.id as string,
    kind: row.kind as Key["kind"],
    environment: row.environment as string,
    name: row.name as string,
    description: row.description as string,
    prefix: row.prefix as string,
    ownerId: optional<string>(row.owner_id),
    issuerId: row.issuer_id as string,
    tier: row.tier as string,
    scopes: Object.freeze(row.scopes as string[]),
    metadata: Object.freeze(row.metadata as Record<string, string>),
    allowedIps: Object.freeze(row.allowed_ips as string[]),
    allowedMethods: Object.freeze(row.allowed_methods as string[]),
    limits: Object.freeze({
      perMinute: optional<number>(row.limit_per_minute),
      perDay: optional<number>(row.limit_per_day),
    }),
    state: row.state as Key["state"],
    disabledBy: optional<string>(row.disabled_by),
    serviceControlled: row.service_controlled as boolean,
    createdAtMs: msOf(row.created_ms) as number,
    expiresAtMs: msOf(row.expires_ms),
    revokedAtMs: msOf(row.revoked_ms),
    lastUsedAtMs: msOf(row.used_ms),
    version: row.version as number,
  });
}

function plainOwner(row: Row): KeyOwner | undefined {
  if (row.owner_id === null) return undefined;
  return Object.freeze({
    id: row.owner_id as string,
    state: row.owner_state as KeyOwner["state"],
    tier: row.owner_tier as string,
    scopes: Object.freeze(row.owner_scopes as string[]),
  });
}

function optional<T>(value: unknown): T | undefined {
  return value === null ? undefined : (value as T);
}
