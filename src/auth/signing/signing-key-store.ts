import type { Actor } from "../../audit/actor.ts";
import type { SealedSigningKey, SigningKeyRecord } from "./signing-key.ts";

export interface SigningKeyList {
  /** Newest first. */
  readonly keys: readonly SigningKeyRecord[];
  /** The database's time of this read. */
  readonly databaseMs: number;
}

/**
 * Where signing keys are kept. At any time at most one key signs, and at most one is next: whatever changes that happens
 * one after the other, however many processes and operators want it at once, and announces a SIGNING_KEY change in the
 * same transaction. Times are those at which a change's turn came, not those at which it began to wait.
 */
export interface SigningKeyStore {
  /** All keys that may still sign or verify something: not revoked. One statement, on the connections that fail fast. */
  list(): Promise<SigningKeyList>;

  /** Keys in every state, newest first by (creation, kid), at most 250: for operators. */
  history(): Promise<readonly SigningKeyRecord[]>;

  /**
   * Keeps the key, active at once, unless a key that signs is there already: not revoked, activated, not retired.
   * Processes that start together must end with one key, so the question and the insertion are one step.
   *
   * @returns whether this key was kept
   */
  addUnlessOneSigns(key: SealedSigningKey): Promise<boolean>;

  /**
   * Keeps the key, to sign from `leadMs` on, when the one that signs retires; at once where none signs. Where a key is
   * next already, that one stays and this one is not kept. Also erases keys that ended 30 days ago, since no token of
   * theirs can live: a private key that is of no use is only a risk.
   *
   * @returns the key that is next now, or signs already
   */
  addNext(input: {
    readonly key: SealedSigningKey;
    readonly leadMs: number;
    readonly by: Actor;
  }): Promise<{ readonly key: SigningKeyRecord; readonly isNew: boolean }>;

  /**
   * Keeps a key sealed anew, if it is still kept under the version and with the bytes of `from`; nothing else of it
   * changes. It is the same key, so no copy needs to learn of it.
   *
   * @returns whether it was
   */
  reseal(input: { readonly from: SealedSigningKey; readonly to: SealedSigningKey }): Promise<boolean>;

  /**
   * Takes a key out. If it was the one that signs, the one that is next signs at once, or `replacement` where none is;
   * if it was the one that is next, the one that signs no longer retires for it. Idempotent. Undefined: no such key.
   */
  revoke(input: {
    readonly kid: string;
    readonly replacement: SealedSigningKey;
    readonly by: Actor;
  }): Promise<SigningKeyRecord | undefined>;
}
