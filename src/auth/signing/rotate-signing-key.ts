import type { Actor } from "../../audit/actor.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { newSigningKey, SIGNING_LEAD_MS, type SigningAlgorithm, type SigningKeyRecord } from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface RotateSigningKeyDeps {
  readonly store: Pick<SigningKeyStore, "addNext">;
  readonly ring: KeyRing;
  readonly log: Log;
  /** The algorithm of the new key. */
  readonly algorithm: SigningAlgorithm;
}

/**
 * Publishes a new signing key at once. It signs SIGNING_LEAD_MS later, when every verifier that caches the key set
 * knows it; then the old key retires. While a key is `next`, the caller gets that key and no other one is made. So two
 * operators at the same time, or an operator and the rotation by age, cause one rotation.
 *
 * @throws DATABASE_UNAVAILABLE
 */
export async function rotateSigningKey(
  deps: RotateSigningKeyDeps,
  input: { readonly by: Actor },
): Promise<SigningKeyRecord> {
  const made = await newSigningKey(deps.ring, deps.algorithm);
  const { key, isNew } = await deps.store.addNext({ key: made, leadMs: SIGNING_LEAD_MS, by: input.by });
  if (isNew) deps.log.info("made the next signing key", { kid: key.kid, algorithm: key.algorithm });
  return key;
}
