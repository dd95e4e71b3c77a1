/**
 * API KEYS. Two flows go through this room.
 *
 *   management   issue-key, get-key, list-keys, update-key, disable-key, enable-key, rotate-key, revoke-key, delete-key:
 *                check the fields (key-fields), ask what the actor may (grants), change the key in one transaction
 *                (key-store, by change-key)
 *   verification verify-key, batch-verify-keys: form and checksum (key-secret), record (key-records, from memory or by
 *                one read), judgement (judge-key, pure), limits; then a note of the use (usage-recorder). A secret
 *                that is still kept under an older master key is moved to the current one (secret-rehasher)
 *
 * A service credential is a key of kind `service`: the same format, table, digest, cache and rotation. The room knows
 * nothing of sessions, passwords, gRPC or SQL, and it never sees a raw key again after it was issued, but for the one
 * that a caller presents.
 */
import type { LimitFigures } from "../limits/limit.ts";

export type KeyKind = "api" | "service";

/** What an operator or owner decided. Expiry is not a state of its own: it follows from the time (see keyState). */
export type StoredKeyState = "active" | "disabled" | "revoked";
export type KeyState = StoredKeyState | "expired";

export interface Key {
  readonly id: string;
  readonly kind: KeyKind;
  /** `svc` for service credentials. */
  readonly environment: string;
  readonly name: string;
  readonly description: string;
  /** Beginning of the raw key, for display. */
  readonly prefix: string;
  /** The user that owns it; none for service credentials. */
  readonly ownerId: string | undefined;
  readonly issuerId: string;
  /** Empty for service credentials. */
  readonly tier: string;
  readonly scopes: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly allowedIps: readonly string[];
  readonly allowedMethods: readonly string[];
  /** What an operator set in place of the tier's figures; undefined = the tier's. */
  readonly limits: LimitFigures;
  readonly state: StoredKeyState;
  readonly disabledBy: string | undefined;
  /** A service issued or restricted it: the owner can only tighten it. */
  readonly serviceControlled: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
  /** Grows with each change. */
  readonly version: number;
}

/** What a verdict needs of a key's owner. */
export interface KeyOwner {
  readonly id: string;
  readonly state: "active" | "disabled";
  /** The highest tier at which the owner's keys are judged. */
  readonly tier: string;
  /** Globs that bound the scopes of the owner's keys. */
  readonly scopes: readonly string[];
}

/** Secrets of one key that work at the same time. */
export const MAX_LIVE_SECRETS = 8;
/** So many that rotations ended are remembered, the latest, and told that they have expired; those before are unknown. */
export const MAX_ENDED_SECRETS = 8;

/** A secret as it is kept: its digest under a version of the pepper. */
export interface KeySecretDigest {
  readonly digest: Buffer;
  readonly pepperVersion: number;
  /** When a rotation ends it; undefined while it is the newest. */
  readonly expiresAtMs: number | undefined;
}

/** A secret that is to be kept under another version of the pepper: what it is kept as, and what it shall be. */
export interface SecretRehash {
  readonly from: Pick<KeySecretDigest, "digest" | "pepperVersion">;
  readonly to: Pick<KeySecretDigest, "digest" | "pepperVersion">;
}

/** Where a key stands at a time. */
export function keyState(key: Key, nowMs: number): KeyState {
  if (key.state === "revoked") return "revoked";
  if (key.expiresAtMs !== undefined && key.expiresAtMs <= nowMs) return "expired";
  return key.state;
}

/** Revoked and expired keys can't be changed any more. */
export function hasEnded(key: Key, nowMs: number): boolean {
  const state = keyState(key, nowMs);
  return state === "revoked" || state === "expired";
}

/** The opaque etag of a key as it is (AIP-154). */
export function keyEtag(key: Key): string {
  return `"${key.version}"`;
}
