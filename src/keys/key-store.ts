import type { AuditEntry } from "../audit/audit-event.ts";
import type { Page, PagePosition } from "../lib/page.ts";
import type { LimitFigures } from "../limits/limit.ts";
import type { Key, KeyKind, KeyOwner, KeySecretDigest, SecretRehash, StoredKeyState } from "./key.ts";

/** All that a verdict needs to know of one key id, as one statement saw it. */
export interface KeyWithSecrets {
  readonly key: Key;
  /** undefined for service credentials. */
  readonly owner: KeyOwner | undefined;
  /** All live ones, and the latest of those that ended. */
  readonly secrets: readonly KeySecretDigest[];
}

/** What a read saw, and the database's clock while it did. */
export interface KeyRead {
  readonly keys: readonly KeyWithSecrets[];
  readonly databaseMs: number;
}

/** A retry's name for itself, and a digest of what it asks, so that one name can't serve two wishes. */
export interface IdempotencyKey {
  readonly callerId: string;
  readonly requestId: string;
  readonly parametersDigest: Buffer;
}

export interface NewKey {
  readonly key: Omit<Key, "createdAtMs" | "lastUsedAtMs" | "revokedAtMs" | "version" | "state" | "disabledBy">;
  readonly secret: KeySecretDigest;
  readonly request: IdempotencyKey | undefined;
  /** Most keys of one owner that are live or ended within 24 h; undefined = not counted (service credentials). */
  readonly ownerQuota: number | undefined;
}

/** A user that a key is about to be issued for. */
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
  | RequestUsed;

/** The request_id was used within 24 h: for the same parameters, or for others. */
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
  /** Takes the key out of every list and read but the audit trail. */
  readonly deleted?: true;
}

export type ChangeKeyOutcome =
  | { readonly kind: "changed"; readonly key: Key }
  /** Another change came first: read again and decide again. */
  | { readonly kind: "conflict" };

/** No other usable service credential has the scope that was to be kept. */
export interface LastOfScope {
  readonly kind: "last_of_scope";
}

export interface AddSecret {
  readonly keyId: string;
  /** Key.version that the decision to rotate was made on. */
  readonly expectedVersion: number;
  readonly secret: KeySecretDigest;
  /** How long the newest secret lives on, but never beyond the key; 0 ends all older secrets now. */
  readonly overlapMs: number;
  /** Most live secrets of one key, the new one included. */
  readonly maxLiveSecrets: number;
  /** Most ended secrets that are kept: the latest to end. Those before are erased. */
  readonly maxEndedSecrets: number;
  readonly request: IdempotencyKey | undefined;
}

export type AddSecretOutcome = ChangeKeyOutcome | { readonly kind: "too_many_secrets" | "ended" } | RequestUsed;

export interface KeyFilter {
  readonly kind: KeyKind;
  readonly ownerId: string | undefined;
  /** Also revoked and expired ones. Deleted ones never. */
  readonly showEnded: boolean;
}

/** A page of keys with their owners. */
export interface KeyPage extends Page<{ readonly key: Key; readonly owner: KeyOwner | undefined }> {
  /** Number of keys on all pages. */
  readonly totalSize: number;
}

/** What is put on record of a change to a key, by the same transaction. The subject is the key. */
export interface KeyEntry extends Omit<AuditEntry, "subjectId"> {
  /** The session that a user makes the change with. */
  readonly sessionId?: string;
}

/**
 * Keeps keys. Each method is one transaction; what it throws is DATABASE_UNAVAILABLE or CONTENTION, and then nothing
 * was done (or, for a lost answer to a COMMIT, everything). A change that an entry's session makes is refused with
 * CREDENTIAL_INVALID where that session has ended: a copy of it elsewhere may be 5 s old, and a key that a thief issues
 * with it would outlive the change that ended it. A method that changes a key also writes the change that
 * tells all copies of it, in the same transaction, and raises the key's version by one.
 */
export interface KeyStore {
  /**
   * Keys with their owners and secrets, all by one statement, on connections that fail fast. Unknown and deleted ids
   * are left out. Times of the answer are the database's.
   */
  read(keyIds: readonly string[]): Promise<KeyRead>;
  /** One key for management; undefined if it is unknown, deleted or of another kind. */
  find(kind: KeyKind, keyId: string): Promise<{ key: Key; owner: KeyOwner | undefined } | undefined>;
  /**
   * The owner, for deciding what a new key may have, and whether there is a place for it; undefined if unknown. Waits
   * for no lock, so that it may be behind keys that are being issued.
   */
  findOwner(ownerId: string, request: IdempotencyKey | undefined): Promise<IssuingOwner | undefined>;
  /** Inserts under a lock of the owner, so that parallel calls can't pass the quota. */
  insert(newKey: NewKey, entry: KeyEntry): Promise<InsertKeyOutcome>;
  /**
   * Compare-and-set: changes the key if its version is still `expectedVersion`. Revoking sets the time of revocation.
   * @param keepScope refuse unless another usable service credential has this scope; such calls run one after another,
   *                  so that two can't take out each other's reason
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
   * Tells this process's copies that a key was found as the caller wants it: another process may have changed it a
   * moment ago, and a caller that has OK here must find here what OK says.
   */
  unchanged(key: Key): void;
  /** As `change`, of a key that has not ended; a used request_id counts first. Earlier overlaps stay as they are. */
  addSecret(rotation: AddSecret, entry: KeyEntry): Promise<AddSecretOutcome>;
  /** Newest first by (created, id), at most `size`, behind `after`. */
  list(filter: KeyFilter, size: number, after: PagePosition | undefined): Promise<KeyPage>;
  /** Notes uses: the later of what is there and what is given. Never touches another column or the version. */
  recordUses(uses: readonly { readonly keyId: string; readonly usedAtMs: number }[]): Promise<void>;
  /**
   * Keeps secrets under another version of the pepper: each whose digest and version are still those in `from`, and of
   * it nothing else, not its end, its key or the key's version; no copy needs to learn of it. What is not found as it
   * was is left alone: of any number of processes that move one secret one does, and a rotation meanwhile waits or is
   * waited for.
   *
   * @returns how many were moved
   */
  rehashSecrets(rehashes: readonly SecretRehash[]): Promise<number>;
  /** Whether a service credential with this scope could be used now. */
  hasUsableCredential(scope: string): Promise<boolean>;
}
