import type { SealedSigningKey, SigningKeyRecord } from "./signing-key.ts";

export interface SigningKeyList {
  /** Newest first. */
  readonly keys: readonly SigningKeyRecord[];
  /** The database's time of this read. */
  readonly databaseMs: number;
}

/** Where signing keys are kept. */
export interface SigningKeyStore {
  /** All keys that may still sign or verify something: not revoked. One statement, on the connections that fail fast. */
  list(): Promise<SigningKeyList>;

  /**
   * Keeps the key, active at once, unless a key that signs is there already: not revoked, activated, not retired.
   * Processes that start together must end with one key, so the question and the insertion are one step.
   * A SIGNING_KEY change goes with it.
   *
   * @returns whether this key was kept
   */
  addUnlessOneSigns(key: SealedSigningKey): Promise<boolean>;
}
