import { matchesMethod, matchesScope } from "./globs.ts";
import { type Key, type KeyOwner, keyState } from "./key.ts";
import type { KeyRecord } from "./key-records.ts";

/** The possible results of a judgement: the names of the contract in lower case. */
export type Verdict =
  | "valid"
  | "invalid"
  | "disabled"
  | "revoked"
  | "expired"
  | "owner_disabled"
  | "scope_missing"
  | "tier_not_allowed"
  | "ip_not_allowed"
  | "method_not_allowed"
  | "rate_limited";

/** The call for which a key is judged. */
export interface KeyUse {
  readonly requiredScopes: readonly string[];
  /** The key must have one of these tiers; empty allows every tier. */
  readonly allowedTiers: readonly string[];
  /** Empty if not given: then a key with an allow-list of networks is refused. */
  readonly clientIp: string;
  /** Empty if not given: then a key with an allow-list of methods is refused. */
  readonly method: string;
}

/**
 * Judges a key whose secret matched, in the contract's order: state of the key, owner, expiry, ip, method, tier,
 * scopes. The caller counts limits afterwards, so that a refused call costs nothing. Pure.
 *
 * @param nowMs the database's time
 */
export function judgeKey(record: KeyRecord, use: KeyUse, nowMs: number): Exclude<Verdict, "rate_limited" | "invalid"> {
  const { key, owner } = record;
  if (key.state === "disabled" || key.state === "revoked") return key.state;
  if (owner?.state === "disabled") return "owner_disabled";
  if (keyState(key, nowMs) === "expired") return "expired";
  if (record.secretExpiresAtMs !== undefined && record.secretExpiresAtMs <= nowMs) return "expired";
  if (key.allowedIps.length > 0 && !record.isAllowedIp(use.clientIp)) return "ip_not_allowed";
  if (!isAllowedMethod(key, use.method)) return "method_not_allowed";
  if (use.allowedTiers.length > 0 && !use.allowedTiers.includes(record.tier)) return "tier_not_allowed";
  return use.requiredScopes.every((scope) => hasScope(key, owner, scope)) ? "valid" : "scope_missing";
}

function isAllowedMethod(key: Key, method: string): boolean {
  return key.allowedMethods.length === 0 || matchesMethod(key.allowedMethods, method);
}

/** A scope counts only while the owner's grant still covers it. */
function hasScope(key: Key, owner: KeyOwner | undefined, scope: string): boolean {
  return key.scopes.includes(scope) && (owner === undefined || matchesScope(owner.scopes, scope));
}
