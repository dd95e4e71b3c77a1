/**
 * Statements that stores share, and the mappings from rows to records. Nothing here begins a transaction.
 *
 *   account-access.ts         password, state, sessions and reset tokens of an account, which change together
 *   user-rows.ts              users
 *   session-rows.ts           sessions
 *   password-reset-rows.ts    reset tokens
 *   login-failure-rows.ts     failed logins by account
 *   login-address-rows.ts     failed logins by address and network
 *   signing-key-rows.ts       signing keys
 *   audit-event-rows.ts       audit events
 *   key-rows.ts               API keys and credentials: the hot read, and new values
 *   key-inserts.ts            a new row of them
 *   key-list.ts               a page of them
 *   certificate-name-rows.ts  whose a certificate name is
 *   key-secret-rows.ts        their secrets
 *   key-request-rows.ts       the request_ids of calls that issue and rotate
 *   key-quotas.ts             quotas, counted without a lock
 *   key-background-writes.ts  last use, and secrets under a new master key
 *   owner-key-rows.ts         all keys of an owner
 *   change-polls.ts           the poll of the log of changes
 *   grouped-reads.ts          hot reads in groups (DataLoader-style batching)
 *   page-order.ts             the order of lists
 */
import { type Key, type KeyOwner, MAX_ENDED_SECRETS, MAX_LIVE_SECRETS } from "../../keys/key.ts";
import type { KeyChanges, KeyWithSecrets } from "../../keys/key-store.ts";
import type { LimitFigures } from "../../limits/limit.ts";
import { ms, msOf, type Row } from "../database.ts";
import type { KeyRow } from "../tables.ts";
import type { RecordsById } from "./grouped-reads.ts";

/** The record of an entity. */
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
    certificateNames: Object.freeze([...row.certificateNames]),
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

/**
 * Maximum secrets of a key that a hot read returns: those that end last, which include all live ones. An owner chooses
 * how often a key is rotated, and must not choose how long the reads of others take.
 */
const MAX_READ_SECRETS = MAX_LIVE_SECRETS + MAX_ENDED_SECRETS;

/** The columns of a key `k` and its owner `o`. */
export const KEY_AND_OWNER = `k.id, k.kind, k.environment, k.name, k.description, k.prefix, k.owner_id, k.issuer_id, k.tier, k.scopes,
      k.metadata, k.allowed_ips, k.allowed_methods, k.certificate_names, k.limit_per_minute, k.limit_per_day, k.state,
      k.disabled_by, k.service_controlled, k.version, ${ms("k.created_at")} as created_ms, ${ms("k.expires_at")} as expires_ms,
      ${ms("k.revoked_at")} as revoked_ms, ${ms("k.last_used_at")} as used_ms,
      o.state as owner_state, o.tier as owner_tier, o.scopes as owner_scopes`;

/** Finds one key and its owner. Parameters: its id and kind. One statement, so a read of management is one round trip. */
export const KEY_WITH_OWNER = `select ${KEY_AND_OWNER}
    from api_keys k
    left join users o on o.id = k.owner_id
    where k.id = ? and k.kind = ? and k.deleted_at is null`;

/** The records in a row with the columns of a key and its owner. */
export function toKeyWithOwner(row: Row): { readonly key: Key; readonly owner: KeyOwner | undefined } {
  const key = plainKey(row);
  return { key, owner: key.ownerId === undefined ? undefined : toPlainOwner(key.ownerId, row) };
}

/**
 * The hot read of keys: one row for each key, with owner and secrets. It leaves out deleted keys, and keys without a
 * secret.
 */
export const KEYS_WITH_SECRETS: RecordsById<KeyWithSecrets> = {
  sql: `select ${KEY_AND_OWNER}, s.secrets
    from api_keys k
    left join users o on o.id = k.owner_id
    cross join lateral (
      select json_agg(json_build_array(encode(s.digest, 'hex'), s.pepper_version, ${ms("s.expires_at")}))::text as secrets
      from (select digest, pepper_version, expires_at from key_secrets where key_id = k.id
        order by expires_at desc nulls first limit ${MAX_READ_SECRETS}) s
      having count(*) > 0
    ) s
    where k.id = any(?::text[]) and k.deleted_at is null`,
  toRecords: toKeysWithSecrets,
  // One of the READ_CONNECTIONS is left for the other hot reads.
  maxUnderWay: 3,
};

/** The records of rows of the hot read, by id. */
export function toKeysWithSecrets(rows: readonly Row[]): ReadonlyMap<string, KeyWithSecrets> {
  return new Map(rows.map((row) => [row.id as string, toKeyWithSecrets(row)]));
}

function toKeyWithSecrets(row: Row): KeyWithSecrets {
  const { key, owner } = toKeyWithOwner(row);
  const secrets = JSON.parse(row.secrets as string) as [digest: string, pepperVersion: number, endsMs: number | null][];
  return {
    key,
    owner,
    secrets: secrets.map(([digest, pepperVersion, endsMs]) => ({
      digest: Buffer.from(digest, "hex"),
      pepperVersion,
      expiresAtMs: msOf(endsMs),
    })),
  };
}

function plainKey(row: Row): Key {
  const id = row.id as string;
  const ownerId = optional<string>(row.owner_id);
  const issuerId = row.issuer_id as string;
  return Object.freeze({
    id,
    kind: word(row.kind) as Key["kind"],
    environment: word(row.environment),
    name: row.name as string,
    description: row.description as string,
    prefix: row.prefix as string,
    ownerId,
    issuerId: issuerId === ownerId ? ownerId : issuerId,
    tier: word(row.tier),
    scopes: list(row.scopes),
    metadata: dictionary(row.metadata),
    allowedIps: list(row.allowed_ips),
    allowedMethods: list(row.allowed_methods),
    certificateNames: list(row.certificate_names),
    limits: figures(optional<number>(row.limit_per_minute), optional<number>(row.limit_per_day)),
    state: word(row.state) as Key["state"],
    disabledBy: optional<string>(row.disabled_by),
    serviceControlled: row.service_controlled as boolean,
    createdAtMs: msOf(row.created_ms) as number,
    expiresAtMs: msOf(row.expires_ms),
    revokedAtMs: msOf(row.revoked_ms),
    lastUsedAtMs: msOf(row.used_ms),
    version: row.version as number,
  });
}

/** The owner in the columns `owner_*` of a row. */
export function toPlainOwner(id: string, row: Row): KeyOwner {
  return Object.freeze({
    id,
    state: word(row.owner_state) as KeyOwner["state"],
    tier: word(row.owner_tier),
    scopes: list(row.owner_scopes),
  });
}

/*
 * String interning: a process keeps 100,000 of these records, or a million. Values that are equal in most of them are
 * one shared object, which halves the memory of a key.
 */

const NO_WORDS: readonly string[] = Object.freeze([]);
const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({});
const NO_FIGURES: LimitFigures = Object.freeze({ perMinute: undefined, perDay: undefined });
const MAX_SHARED = 1000;
const words = new Map<unknown, string>();
const lists = new Map<string, readonly string[]>();

/** A value of a small set: a state, a tier. */
function word(value: unknown): string {
  return shared(words, value, value as string);
}

/** A list that many keys have in common: scopes, mostly. */
function list(value: unknown): readonly string[] {
  const entries = value as readonly string[];
  // PostgreSQL has no NUL in a text.
  return entries.length === 0 ? NO_WORDS : shared(lists, entries.join("\0"), Object.freeze(entries));
}

/** The first of equal values, up to MAX_SHARED different ones. */
function shared<K, V>(known: Map<K, V>, key: K, value: V): V {
  const first = known.get(key);
  if (first !== undefined) return first;
  if (known.size < MAX_SHARED) known.set(key, value);
  return value;
}

function dictionary(value: unknown): Readonly<Record<string, string>> {
  const entries = value as Record<string, string>;
  return Object.keys(entries).length === 0 ? NO_METADATA : Object.freeze(entries);
}

function figures(perMinute: number | undefined, perDay: number | undefined): LimitFigures {
  return perMinute === undefined && perDay === undefined ? NO_FIGURES : Object.freeze({ perMinute, perDay });
}

function optional<T>(value: unknown): T | undefined {
  return value === null ? undefined : (value as T);
}

/** Writes new values into a row, and makes it another version. Revoking sets the time of revocation. */
export function applyChanges(row: KeyRow, changes: KeyChanges, now: Date): void {
  const { limits, expiresAtMs, scopes, metadata, allowedIps, allowedMethods, deleted, state, ...texts } = changes;
  Object.assign(row, texts);
  if (scopes !== undefined) row.scopes = [...scopes];
  if (metadata !== undefined) row.metadata = { ...metadata };
  if (allowedIps !== undefined) row.allowedIps = [...allowedIps];
  if (allowedMethods !== undefined) row.allowedMethods = [...allowedMethods];
  if (limits !== undefined) {
    row.limitPerMinute = limits.perMinute ?? null;
    row.limitPerDay = limits.perDay ?? null;
  }
  if (expiresAtMs !== undefined) row.expiresAt = expiresAtMs === null ? null : new Date(expiresAtMs);
  if (state !== undefined) row.state = state;
  if (state === "revoked") row.revokedAt ??= now;
  if (deleted) row.deletedAt = now;
  row.version++;
}
