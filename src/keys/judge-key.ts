import { matchesMethod, matchesScope } from "./globs.ts";
import { type Key, type KeyOwner, keyState } from "./key.ts";

/*
 * The judgement of a key. The service judges its records with it, and a client its own copies of them. So this file
 * and all that it imports need nothing but Node.
 */

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

/** The contract's name of each verdict, without its prefix. */
export const VERDICT_NAMES: { readonly [V in Verdict]: Uppercase<V> } = Object.freeze({
  valid: "VALID",
  invalid: "INVALID",
  disabled: "DISABLED",
  revoked: "REVOKED",
  expired: "EXPIRED",
  owner_disabled: "OWNER_DISABLED",
  scope_missing: "SCOPE_MISSING",
  tier_not_allowed: "TIER_NOT_ALLOWED",
  ip_not_allowed: "IP_NOT_ALLOWED",
  method_not_allowed: "METHOD_NOT_ALLOWED",
  rate_limited: "RATE_LIMITED",
});

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

/** The basis of a judgement: one key as one of its secrets shows it. */
export interface JudgedKey {
  readonly key: Pick<Key, "state" | "expiresAtMs" | "scopes" | "allowedIps" | "allowedMethods">;
  /** undefined if no owner's state and grant matter. */
  readonly owner: Pick<KeyOwner, "state" | "scopes"> | undefined;
  /** The end of the presented secret. */
  readonly secretExpiresAtMs: number | undefined;
  /** The tier by which the key is judged: the lower of the key's and its owner's. */
  readonly tier: string;
  /** Whether `key.allowedIps` contains an address. Not called if that list is empty. */
  readonly isAllowedIp: (ip: string) => boolean;
}

/**
 * Whether a key of an environment may be used where a caller wants keys of one environment. If not, the key is INVALID.
 *
 * @param wanted empty: keys of any environment
 */
export function isOfEnvironment(wanted: string, environment: string): boolean {
  return wanted === "" || wanted === environment;
}

/**
 * Judges a key whose secret matched, in the contract's order: state of the key, owner, expiry, ip, method, tier,
 * scopes. The caller counts limits afterwards, so that a refused call costs nothing. Pure.
 *
 * @param nowMs the database's time
 */
export function judgeKey(record: JudgedKey, use: KeyUse, nowMs: number): Exclude<Verdict, "rate_limited" | "invalid"> {
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

function isAllowedMethod(key: JudgedKey["key"], method: string): boolean {
  return key.allowedMethods.length === 0 || matchesMethod(key.allowedMethods, method);
}

/** The scopes of a key that its owner's grant still covers, in their order: those that a judgement finds. */
export function effectiveScopes(key: Pick<JudgedKey["key"], "scopes">, owner: JudgedKey["owner"]): string[] {
  return key.scopes.filter((scope) => isGranted(owner, scope));
}

/** A scope counts only while the owner's grant still covers it. */
function hasScope(key: JudgedKey["key"], owner: JudgedKey["owner"], scope: string): boolean {
  return key.scopes.includes(scope) && isGranted(owner, scope);
}

function isGranted(owner: JudgedKey["owner"], scope: string): boolean {
  return owner === undefined || matchesScope(owner.scopes, scope);
}
