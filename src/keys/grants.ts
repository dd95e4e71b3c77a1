import type { Actor } from "../audit/actor.ts";
import { DomainError, invalidField, type UntoldFacts } from "../lib/errors.ts";
import { matchesScope } from "./globs.ts";
import type { Key, KeyOwner } from "./key.ts";
import type { Tiers } from "./tiers.ts";

/*
 * What an actor may do with a key. Nothing that authorizes comes from an untrusted caller: tier and scopes are bounded
 * by what an operator granted to the owner, and what a service decided the owner can only tighten.
 */

/**
 * A key that the actor may not see does not exist for them: the same answer, to the byte, as for an unknown id. Only
 * the audit trail tells the two apart.
 */
export function keyNotFound(untold?: UntoldFacts): DomainError {
  return new DomainError("KEY_NOT_FOUND", "no such key", untold && { untold });
}

export function keyEnded(): DomainError {
  return new DomainError("KEY_ENDED", "the key is revoked or expired");
}

/** Whether the actor may see and manage the key at all. */
export function mayManage(actor: Actor, key: Key): boolean {
  return actor.kind === "user" ? key.ownerId === actor.id : actor.manages;
}

/** @throws INVALID_FIELD for an unknown tier, TIER_NOT_GRANTED above the owner's */
export function checkTier(tiers: Tiers, tier: string, owner: KeyOwner, field = "tier"): void {
  if (!tiers.has(tier)) throw invalidField(field, `must be one of ${tiers.names.join(", ")}`);
  if (!tiers.isWithin(tier, owner.tier)) {
    throw new DomainError("TIER_NOT_GRANTED", `the owner may have keys up to the tier ${owner.tier}`);
  }
}

/** @throws SCOPE_NOT_GRANTED if the owner's grant does not cover each scope */
export function checkScopes(scopes: readonly string[], owner: KeyOwner): void {
  const missing = scopes.filter((scope) => !isGranted(scope, owner));
  if (missing.length === 0) return;
  throw new DomainError("SCOPE_NOT_GRANTED", `the owner may not have the scope ${missing[0]}`);
}

export function isGranted(scope: string, owner: KeyOwner): boolean {
  return owner.scopes.some((glob) => matchesScope(glob, scope));
}

/** What the owner may still change on a key that a service issued or restricted. */
const OWNER_FIELDS: ReadonlySet<string> = new Set(["name", "description", "metadata", "expire_time"]);
/** What never is the owner's to set. */
const SERVICE_FIELDS: ReadonlySet<string> = new Set(["tier", "limits"]);

/** Fields by which a service restricts a key: from then on its owner can only tighten it. */
export function restricts(fields: Iterable<string>): boolean {
  return [...fields].some((field) => !["name", "description", "metadata"].includes(field));
}

/**
 * @param fields        paths of the update
 * @param newExpiresAtMs the new end, where the update names it
 * @throws FIELD_NOT_ALLOWED, KEY_RESTRICTED
 */
export function checkFieldAccess(actor: Actor, key: Key, fields: readonly string[], newExpiresAtMs?: number): void {
  if (actor.kind === "service") return;
  const reserved = fields.find((field) => SERVICE_FIELDS.has(field));
  if (reserved !== undefined) {
    throw new DomainError("FIELD_NOT_ALLOWED", `${reserved} is set by services with the scope manage`);
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
