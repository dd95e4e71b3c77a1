import type { Actor } from "../../audit/actor.ts";
import type { SealedSigningKey, SigningKeyRecord } from "./signing-key.ts";

export interface SigningKeyList {
  /** Newest first. */
  readonly keys: readonly SigningKeyRecord[];
  /** The database's time of this read. */
  readonly databaseMs: number;
}

/**
 * Stores signing keys. At any time at most one key is `active`, and at most one is `next`. Methods that change this run
 * one after another, whichever process or operator calls them, and announce a SIGNING_KEY change in the same
 * transaction. They store the time at which their turn came, not the time at which they began to wait.
 */
export interface SigningKeyStore {
  /** All keys that are not revoked. One statement, on the connections that fail fast. */
  list(): Promise<SigningKeyList>;

  /** Keys in every state, for operators: at most 250, newest first by (time of creation, kid). */
  history(): Promise<readonly SigningKeyRecord[]>;

  /**
   * Stores the key as `active`, unless there is an active key already. Checking and inserting are one step, so that
   * processes that start at the same time end with one key.
   *
   * @returns whether this key was stored
   */
  addUnlessOneSigns(key: SealedSigningKey): Promise<boolean>;

  /**
   * Stores the key as `next`: it signs `leadMs` later, when the active key retires, or at once if none is active. If a
   * key is `next` already, that one stays and this one is not stored. Also deletes keys that ended 30 days ago: their
   * tokens have expired, and a private key without a use is only a risk.
   *
   * @returns the key that is `next` now, or `active` already
   */
  addNext(input: {
    readonly key: SealedSigningKey;
    readonly leadMs: number;
    readonly by: Actor;
  }): Promise<{ readonly key: SigningKeyRecord; readonly isNew: boolean }>;

  /**
   * Replaces the sealed bytes of a key, if its version and its bytes are still those of `from`. No other field changes.
   * It stays the same key, so no copy needs to learn of it.
   *
   * @returns whether they were replaced
   */
  reseal(input: { readonly from: SealedSigningKey; readonly to: SealedSigningKey }): Promise<boolean>;

  /**
   * Revokes a key. If it was `active`, the key that is `next` signs at once, or `replacement` if there is none. If it
   * was `next`, the active key no longer retires for it. Idempotent. Undefined if there is no such key.
   */
  revoke(input: {
    readonly kid: string;
    readonly replacement: SealedSigningKey;
    readonly by: Actor;
  }): Promise<SigningKeyRecord | undefined>;
}
