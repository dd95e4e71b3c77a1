/**
 * API KEYS. Two flows go through this room.
 *
 * - Management checks the fields, asks what the actor may do, and changes the key in one transaction.
 * - Verification checks the form and the checksum, finds the record in memory or by one read, judges it, and counts the
 *   call against the limits. Then it notes the use.
 *
 * Management:
 *
 *   issue-key.ts, get-key.ts, list-keys.ts, update-key.ts, disable-key.ts, enable-key.ts, rotate-key.ts, revoke-key.ts,
 *   delete-key.ts          one verb each, for API keys
 *   reset-rate-limits.ts   empties the windows of a key's own limits
 *   forgotten-denials.ts   makes the limiter forget its denials of a key that changed
 *   change-key.ts          finds a key for an actor, and changes it by compare-and-set
 *   key-store.ts           what the room needs from the database
 *   key-fields.ts          checks the fields of a key
 *   authority.ts           what a key may do, as the audit trail records it
 *   grants.ts              what an actor may do with a key
 *   tiers.ts               the configured tiers and their limits
 *   idempotency.ts         request_id: a repeated request is not run twice
 *
 * Verification:
 *
 *   verify-key.ts          verifies one key
 *   batch-verify-keys.ts   verifies many keys in one pass
 *   verdict.ts             the steps that both of them run
 *   check-use.ts           the check of a request for a verdict
 *   check-rate-limit.ts    the limits alone, without a raw key
 *   batch-check-rate-limits.ts
 *                          the same for many calls in one pass
 *   batch.ts               what both batches share: their maximum size, and an error for one request alone
 *   key-form.ts            the form of raw keys, and their checksum
 *   key-secret.ts          their secrets and digests
 *   verdict-counts.ts      counts of verdicts by kind and service
 *   verdict-settings.ts    the settings that verdicts rest on
 *   key-records.ts         records by raw key, from memory or by one read
 *   judge-key.ts           the judgement, pure
 *   allowed-ips.ts         allow-lists of networks
 *   globs.ts               globs of methods and of scopes
 *   limit-requests.ts      the limits of a call, as the limiter needs them
 *   usage-recorder.ts      notes when keys were last used
 *   secret-rehasher.ts     moves secrets of an older master key to the current one
 *   background-writer.ts   writes for both of them, in the background
 *
 * A client judges its copies of keys by the same judge-key.ts, check-use.ts, key-form.ts, allowed-ips.ts, globs.ts and
 * limit-requests.ts. So these files import nothing but Node and files of which the same is true.
 *
 * Service credentials have a folder and a map of their own: credentials/service-credential.ts.
 *
 * The room knows nothing of sessions, passwords, gRPC or SQL. After a raw key was issued, the room sees it only when a
 * caller presents it.
 */
import type { LimitFigures } from "../limits/limit.ts";

export type KeyKind = "api" | "service";

/**
 * The stored state, which an operator or the owner sets. Expiry is not stored: it follows from the time (see keyState).
 */
export type StoredKeyState = "active" | "disabled" | "revoked";
export type KeyState = StoredKeyState | "expired";

export interface Key {
  readonly id: string;
  readonly kind: KeyKind;
  /** `svc` for service credentials. */
  readonly environment: string;
  readonly name: string;
  readonly description: string;
  /** The beginning of the raw key, for display. */
  readonly prefix: string;
  /** The user who owns the key; undefined for service credentials. */
  readonly ownerId: string | undefined;
  readonly issuerId: string;
  /** Empty for service credentials. */
  readonly tier: string;
  readonly scopes: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly allowedIps: readonly string[];
  readonly allowedMethods: readonly string[];
  /** Names of client certificates that stand for a service credential, in alphabetical order; none for an API key. */
  readonly certificateNames: readonly string[];
  /** The figures that an operator set instead of the tier's; undefined = the tier's figure applies. */
  readonly limits: LimitFigures;
  readonly state: StoredKeyState;
  readonly disabledBy: string | undefined;
  /** True if a service issued or restricted the key: then its owner can only tighten it. */
  readonly serviceControlled: boolean;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
  /** Increases with each change. */
  readonly version: number;
}

/** The facts about a key's owner that a verdict needs. */
export interface KeyOwner {
  readonly id: string;
  readonly state: "active" | "disabled";
  /** The highest tier by which the owner's keys are judged. */
  readonly tier: string;
  /** Globs that bound the scopes of the owner's keys. */
  readonly scopes: readonly string[];
}

/** Maximum secrets of one key that are valid at the same time. */
export const MAX_LIVE_SECRETS = 8;
/**
 * Maximum ended secrets of one key that a rotation leaves stored: the latest ones. The service answers EXPIRED for them
 * instead of INVALID.
 */
export const MAX_ENDED_SECRETS = 8;

/** A stored secret: its digest under a version of the pepper. */
export interface KeySecretDigest {
  readonly digest: Buffer;
  readonly pepperVersion: number;
  /** When it ends because of a rotation; undefined while it is the newest. */
  readonly expiresAtMs: number | undefined;
}

/** The move of a secret to another version of the pepper: the stored digest and the new one. */
export interface SecretRehash {
  readonly from: Pick<KeySecretDigest, "digest" | "pepperVersion">;
  readonly to: Pick<KeySecretDigest, "digest" | "pepperVersion">;
}

/** The state of a key at a time. */
export function keyState(key: Pick<Key, "state" | "expiresAtMs">, nowMs: number): KeyState {
  if (key.state === "revoked") return "revoked";
  if (key.expiresAtMs !== undefined && key.expiresAtMs <= nowMs) return "expired";
  return key.state;
}

/** Whether a key is revoked or expired. Such a key can only be revoked or deleted. */
export function hasEnded(key: Key, nowMs: number): boolean {
  const state = keyState(key, nowMs);
  return state === "revoked" || state === "expired";
}

/** The opaque etag of this version of a key (AIP-154). */
export function keyEtag(key: Key): string {
  return `"${key.version}"`;
}
