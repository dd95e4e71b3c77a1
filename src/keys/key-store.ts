import type { AuditEntry } from "../audit/audit-event.ts";
import type { Page, PagePosition } from "../lib/page.ts";
import type { LimitFigures } from "../limits/limit.ts";
import type { Key, KeyKind, KeyOwner, KeySecretDigest, SecretRehash, StoredKeyState } from "./key.ts";

/** The data of one key id that a verdict needs, as one statement read it. */
export interface KeyWithSecrets {
  readonly key: Key;
  /** undefined for service credentials. */
  readonly owner: KeyOwner | undefined;
  /** All live secrets, and the latest ended ones. */
  readonly secrets: readonly KeySecretDigest[];
}

/** The result of a read, with the time of the database's clock. */
export interface KeyRead {
  readonly keys: readonly KeyWithSecrets[];
  readonly databaseMs: number;
}

/**
 * The id by which a retry is recognized, and a digest of its parameters, so that one id can't stand for two requests.
 */
export interface IdempotencyKey {
  readonly callerId: string;
  readonly requestId: string;
  readonly parametersDigest: Buffer;
}

export interface NewKey {
  readonly key: Omit<Key, "createdAtMs" | "lastUsedAtMs" | "revokedAtMs" | "version" | "state" | "disabledBy">;
  readonly secret: KeySecretDigest;
  readonly request: IdempotencyKey | undefined;
  /** Maximum keys of one owner that are live or ended within 24 h; undefined for no maximum (service credentials). */
  readonly ownerQuota: number | undefined;
}

/** A user for whom a key is about to be issued. */
export interface IssuingOwner {
  readonly owner: KeyOwner;
  /** Keys that count against the quota, as `insert` counts them. */
  readonly keys: number;
  /** Whether the request_id was used within 24 h. */
  readonly isRequestUsed: boolean;
}

export type InsertKeyOutcome =
  | { readonly kind: "inserted"; readonly key: Key }
  | { readonly kind: "owner_missing" }
  | { readonly kind: "owner_disabled" }
  | { readonly kind: "quota_exceeded" }
  | NameTaken
  | RequestUsed;

/** The request_id was used within 24 h, for the same parameters or for others. */
export interface RequestUsed {
  readonly kind: "request_used";
  readonly keyId: string;
  readonly sameParameters: boolean;
}

/** New values of a key's fields; absent ones stay. `null` empties a field that may be empty. */
export interface KeyChanges {
  readonly name?: string;
  readonly description?: string;
  readonly tier?: string;
  readonly scopes?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly allowedIps?: readonly string[];
  readonly allowedMethods?: readonly string[];
  readonly limits?: LimitFigures;
  readonly expiresAtMs?: number | null;
  readonly state?: StoredKeyState;
  readonly disabledBy?: string | null;
  readonly revokeReason?: string;
  readonly serviceControlled?: boolean;
  /** Removes the key from all lists and reads, except from the audit trail. */
  readonly deleted?: true;
}

/** New values of a service credential's fields; absent ones stay. */
export interface CredentialChanges extends Pick<KeyChanges, "name"> {
  /** In alphabetical order. */
  readonly certificateNames?: readonly string[];
}

export type ChangeKeyOutcome =
  | { readonly kind: "changed"; readonly key: Key }
  /** Another change came first: read again and decide again. */
  | { readonly kind: "conflict" };

/** Another service credential that has not ended has one of the certificate names. */
export interface NameTaken {
  readonly kind: "name_taken";
  readonly name: string;
  readonly keyId: string;
}

/** A certificate name with the credential that it stands for. */
export interface NamedCredential {
  readonly name: string;
  readonly key: Key;
}

/** The result of a read by certificate names, with the time of the database's clock. */
export interface NamedCredentialRead {
  readonly credentials: readonly NamedCredential[];
  readonly databaseMs: number;
}

/** No other usable service credential has the scope `keepScope`. */
export interface LastOfScope {
  readonly kind: "last_of_scope";
}

export interface AddSecret {
  readonly keyId: string;
  /** The version of the key that the caller read before it decided to rotate. */
  readonly expectedVersion: number;
  readonly secret: KeySecretDigest;
  /** Time for which the newest secret stays valid, at most until the key ends; 0 ends all older secrets now. */
  readonly overlapMs: number;
  /** Maximum live secrets of one key, the new one included. */
  readonly maxLiveSecrets: number;
  /** Maximum ended secrets that stay stored after this rotation. It deletes those that ended first. */
  readonly maxEndedSecrets: number;
  readonly request: IdempotencyKey | undefined;
}

export type AddSecretOutcome = ChangeKeyOutcome | { readonly kind: "too_many_secrets" | "ended" } | RequestUsed;

export interface KeyFilter {
  readonly kind: KeyKind;
  readonly ownerId: string | undefined;
  /** Whether to include revoked and expired keys. Deleted keys are never included. */
  readonly showEnded: boolean;
}

/** A page of keys with their owners. */
export interface KeyPage extends Page<{ readonly key: Key; readonly owner: KeyOwner | undefined }> {
  /** Number of keys on all pages, counted up to 10,000; 10,001 stands for more. */
  readonly totalSize: number;
}

/** The audit entry of a change to a key, written by the same transaction. Its subject is the key. */
export interface KeyEntry extends Omit<AuditEntry, "subjectId"> {
  /** The session with which a user makes the change. */
  readonly sessionId?: string;
}

/**
 * Stores keys. Each method is one transaction. It throws DATABASE_UNAVAILABLE or CONTENTION; then nothing was done, or
 * everything if the answer to a COMMIT was lost.
 *
 * A method that changes a key increases the key's version by one. In the same transaction it writes the change that
 * tells all copies.
 *
 * If an entry has a session that has ended, the change is refused with CREDENTIAL_INVALID. Another process may still
 * accept that session for 5 s. A key that a thief issues in that time would stay valid after the session's end.
 */
export interface KeyStore {
  /**
   * Reads keys with their owners and secrets by one statement, on connections that fail fast. Leaves out unknown and
   * deleted ids. Times are the database's.
   */
  read(keyIds: readonly string[]): Promise<KeyRead>;
  /**
   * Reads the service credentials that certificate names stand for, as `read` does. Leaves out names that no credential
   * has. A credential that has ended keeps its names until another one takes them.
   */
  readByCertificateNames(names: readonly string[]): Promise<NamedCredentialRead>;
  /** One key for management; undefined if it is unknown, deleted or of another kind. */
  find(kind: KeyKind, keyId: string): Promise<{ key: Key; owner: KeyOwner | undefined } | undefined>;
  /**
   * The owner of a new key, with the facts that decide whether it may be issued; undefined for an unknown owner. Waits
   * for no lock, so it may miss keys that are being issued.
   */
  findOwner(ownerId: string, request: IdempotencyKey | undefined): Promise<IssuingOwner | undefined>;
  /** Inserts under a lock of the owner, so that parallel calls can't pass the quota. */
  insert(newKey: NewKey, entry: KeyEntry): Promise<InsertKeyOutcome>;
  /**
   * Compare-and-set: changes the key if its version is still `expectedVersion`. Revoking sets the time of revocation.
   *
   * @param keepScope refuse the change unless another usable service credential has this scope. Calls with it run one
   *   after another, so that two of them can't revoke the last two credentials of a scope
   */
  change(keyId: string, expectedVersion: number, changes: KeyChanges, entry: KeyEntry): Promise<ChangeKeyOutcome>;
  change(
    keyId: string,
    expectedVersion: number,
    changes: KeyChanges,
    entry: KeyEntry,
    keepScope: string | undefined,
  ): Promise<ChangeKeyOutcome | LastOfScope>;
  /**
   * `change` for a service credential. The new certificate names replace the old ones. Names that an ended credential
   * has are taken from it. Calls with names run one after another.
   */
  changeCredential(
    keyId: string,
    expectedVersion: number,
    changes: CredentialChanges,
    entry: KeyEntry,
  ): Promise<ChangeKeyOutcome | NameTaken>;
  /**
   * Tells the copies of this process that a key is in the state that the caller wanted. Another process may have
   * changed it a moment ago. A caller who got OK from this process must then see the new state in this process.
   */
  unchanged(key: Key): void;
  /** Tells all copies, and the audit trail, that the limits of a key were reset. The key and its version stay. */
  limitsReset(keyId: string, entry: KeyEntry): Promise<void>;
  /**
   * Adds a secret to a key that has not ended, by compare-and-set as in `change`. It looks for a used request_id first.
   * Older secrets keep the ends that earlier overlaps gave them, unless `overlapMs` is 0.
   */
  addSecret(rotation: AddSecret, entry: KeyEntry): Promise<AddSecretOutcome>;
  /** Lists at most `size` keys after `after`, newest first by (time of creation, id). */
  list(filter: KeyFilter, size: number, after: PagePosition | undefined): Promise<KeyPage>;
  /**
   * Stores when keys were last used, if that is later than the stored time. It changes no other column, and not the
   * version.
   */
  recordUses(uses: readonly { readonly keyId: string; readonly usedAtMs: number }[]): Promise<void>;
  /**
   * Moves secrets to another version of the pepper: each one whose digest and version are still those in `from`. No
   * other field of the secret or its key changes, so no copy needs to learn of it. If several processes move one secret
   * at the same time, one of them succeeds. A rotation at the same time runs before or after the move.
   *
   * @returns the number of moved secrets
   */
  rehashSecrets(rehashes: readonly SecretRehash[]): Promise<number>;
  /** Deletes some of the uses of request_ids that are forgotten by now. @returns whether more are left */
  pruneRequests(): Promise<boolean>;
  /** Whether a service credential with this scope could be used now. */
  hasUsableCredential(scope: string): Promise<boolean>;
}
