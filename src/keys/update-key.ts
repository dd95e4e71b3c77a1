import { isDeepStrictEqual } from "node:util";
import type { KnownActor } from "../audit/actor.ts";
import type { DatabaseClock } from "../changes/database-clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { LimitFigures } from "../limits/limit.ts";
import { authorityChanges } from "./authority.ts";
import { type ChangeKeyDeps, changeKey, entryOf, type OneKeyInput, type OwnedKey } from "./change-key.ts";
import { checkFieldAccess, checkScopes, checkTier, keyEnded, restricts } from "./grants.ts";
import { hasEnded, type Key, keyEtag } from "./key.ts";
import { checkKeyFields, checkKeyWeight } from "./key-fields.ts";
import type { KeyChanges } from "./key-store.ts";
import type { Tiers } from "./tiers.ts";

export interface UpdateKeyDeps extends ChangeKeyDeps {
  readonly tiers: Tiers;
  readonly databaseClock: DatabaseClock;
}

/** The fields of an update, by their paths in the contract. Absent fields stay as they are. */
export interface KeyUpdate {
  readonly name?: string;
  readonly description?: string;
  readonly scopes?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly allowed_ips?: readonly string[];
  readonly allowed_methods?: readonly string[];
  /** null = never. */
  readonly expire_time?: number | null;
  readonly tier?: string;
  /** An undefined figure means that the tier's figure applies. */
  readonly limits?: LimitFigures;
}

export interface UpdateKeyInput extends OneKeyInput {
  readonly update: KeyUpdate;
  /** Empty for an unconditional update. */
  readonly etag: string;
}

/**
 * Changes fields of a key. An update that changes no value writes nothing: no row, no audit event, no new etag.
 *
 * @throws KEY_NOT_FOUND, KEY_ENDED, ETAG_MISMATCH, INVALID_FIELD, FIELD_NOT_ALLOWED, KEY_RESTRICTED, TIER_NOT_GRANTED,
 *   SCOPE_NOT_GRANTED, DATABASE_UNAVAILABLE
 */
export function updateKey(deps: UpdateKeyDeps, input: UpdateKeyInput): Promise<OwnedKey> {
  const { by, update } = input;
  return changeKey(deps, input, ({ key, owner }) => {
    const nowMs = deps.databaseClock.nowMs();
    if (input.etag !== "" && input.etag !== keyEtag(key)) {
      throw new DomainError("ETAG_MISMATCH", "the key changed since it was read; read it again");
    }
    if (hasEnded(key, nowMs)) throw keyEnded();
    checkFieldAccess(by, key, Object.keys(update), update.expire_time ?? undefined);
    checkFieldValues(update, nowMs);
    if (owner !== undefined && update.tier !== undefined) checkTier(deps.tiers, update.tier, owner, "key.tier");
    if (owner !== undefined && update.scopes !== undefined) checkScopes(update.scopes, owner);
    const changes = differing(key, toChanges(by, update));
    if (Object.keys(changes).length === 0) return undefined;
    checkKeyWeight({ ...key, ...changes }, key, "key.");
    const details = { fields: fieldsOf(changes), ...authorityChanges(key, { ...key, ...changes }) };
    return { changes, entry: entryOf(by, "key.updated", details) };
  });
}

function checkFieldValues(update: KeyUpdate, nowMs: number): void {
  const { allowed_ips, allowed_methods, expire_time, tier: _, ...same } = update;
  checkKeyFields(
    {
      ...same,
      ...(allowed_ips && { allowedIps: allowed_ips }),
      ...(allowed_methods && { allowedMethods: allowed_methods }),
      expiresAtMs: expire_time ?? undefined,
    },
    nowMs,
    "key.",
  );
}

function toChanges(by: KnownActor, update: KeyUpdate): KeyChanges {
  const { allowed_ips, allowed_methods, expire_time, ...same } = update;
  return {
    ...same,
    ...(allowed_ips && { allowedIps: allowed_ips }),
    ...(allowed_methods && { allowedMethods: allowed_methods }),
    ...(expire_time !== undefined && { expiresAtMs: expire_time }),
    ...(by.kind === "service" && restricts(Object.keys(update)) && { serviceControlled: true }),
  };
}

/** The changes that differ from the key. */
function differing(key: Key, changes: KeyChanges): KeyChanges {
  const isOther = ([name, value]: [string, unknown]) => !isDeepStrictEqual(key[name as keyof Key] ?? null, value);
  return Object.fromEntries(Object.entries(changes).filter(isOther));
}

const PATHS: Partial<Record<keyof KeyChanges, string>> = {
  allowedIps: "allowed_ips",
  allowedMethods: "allowed_methods",
  expiresAtMs: "expire_time",
  serviceControlled: "restricted_by_service",
};

/** The names of the changed fields, as paths of the contract. */
function fieldsOf(changes: KeyChanges): string {
  return (Object.keys(changes) as (keyof KeyChanges)[]).map((name) => PATHS[name] ?? name).join(",");
}
