import type { KnownActor } from "../audit/actor.ts";
import { DomainError, invalidField, type UntoldFacts } from "../lib/errors.ts";
import { matchesScope } from "./globs.ts";
import type { Key, KeyOwner } from "./key.ts";
import type { Tiers } from "./tiers.ts";

/*
 * Rules for what an actor may do with a key. No text that an untrusted caller sends gives authority: an operator's
 * grant to the owner bounds tier and scopes. The owner can only tighten what a service decided.
 */

/**
 * The error for an unknown key, and for a key that the actor may not see. Both get the same bytes, so that the actor
 * can't tell them apart; only the audit trail does.
 */
export function keyNotFound(untold?: UntoldFacts): DomainError {
  return new DomainError("KEY_NOT_FOUND", "no such key", untold && { untold });
}

/** The error for a call whose session ended after the call was authenticated. */
export function sessionEnded(): DomainError {
  return new DomainError("CREDENTIAL_INVALID", "the session has ended; log in again");
}

export function keyEnded(): DomainError {
  return new DomainError("KEY_ENDED", "the key is revoked or expired");
}

/** Whether the actor may see and manage the key. */
export function mayManage(actor: KnownActor, key: Key): boolean {
  return actor.kind === "user" ? key.ownerId === actor.id : actor.manages;
}

/** @throws INVALID_FIELD for an unknown tier; TIER_NOT_GRANTED for a tier above the owner's */
export function checkTier(tiers: Tiers, tier: string, owner: KeyOwner, field = "tier"): void {
  if (!tiers.has(tier)) throw invalidField(field, `must be one of ${tiers.names.join(", ")}`);
  if (!tiers.isWithin(tier, owner.tier)) {
    throw new DomainError("TIER_NOT_GRANTED", `the owner may have keys up to the tier ${owner.tier}`);
  }
}

/** @throws SCOPE_NOT_GRANTED if the owner's grant does not cover every scope */
export function checkScopes(scopes: readonly string[], owner: KeyOwner): void {
  const missing = scopes.filter((scope) => !matchesScope(owner.scopes, scope));
  if (missing.length === 0) return;
  throw new DomainError("SCOPE_NOT_GRANTED", `the owner may not have the scope ${missing[0]}`);
}

/** Fields that the owner may still change on a key that a service issued or restricted. */
const OWNER_FIELDS: ReadonlySet<string> = new Set(["name", "description", "metadata", "expire_time"]);
/** Fields that the owner may never set. */
const SERVICE_FIELDS: ReadonlySet<string> = new Set(["tier", "limits"]);

/** Whether a service restricts a key by changing these fields. After that, the owner can only tighten the key. */
export function restricts(fields: Iterable<string>): boolean {
  return [...fields].some((field) => !["name", "description", "metadata"].includes(field));
}

/**
 * Checks whether the actor may change these fields of a key.
 *
 * @param fields paths of the update
 * @param newExpiresAtMs the new end, if the update names it
 * @throws FIELD_NOT_ALLOWED, KEY_RESTRICTED
 */
export function checkFieldAccess(
  actor: KnownActor,
  key: Key,
  fields: readonly string[],
  newExpiresAtMs?: number,
): void {
  if (actor.kind === "service") return;
  const reserved = fields.find((field) => SERVICE_FIELDS.has(field));
  if (reserved !== undefined) {
    throw new DomainError("FIELD_NOT_ALLOWED", `only services with the scope manage can set ${reserved}`);
  }
  if (!key.serviceControlled) return;
  const refused = fields.find((field) => !OWNER_FIELDS.has(field));
  if (refused !== undefined) {
    throw new DomainError(
      "KEY_RESTRICTED",
      `a service issued or restricted this key: its owner can't change ${refused}`,
    );
  }
  if (fields.includes("expire_time") && !isSooner(newExpiresAtMs, key.expiresAtMs)) {
    throw new DomainError(
      "KEY_RESTRICTED",
      "a service issued or restricted this key: its owner can only shorten expire_time",
    );
  }
}

function isSooner(newEndMs: number | undefined, endMs: number | undefined): boolean {
  if (newEndMs === undefined) return endMs === undefined;
  return endMs === undefined || newEndMs <= endMs;
}
