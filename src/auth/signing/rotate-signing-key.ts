import type { Actor } from "../../audit/actor.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { newSigningKey, SIGNING_LEAD_MS, type SigningAlgorithm, type SigningKeyRecord } from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface RotateSigningKeyDeps {
  readonly store: Pick<SigningKeyStore, "addNext">;
  readonly ring: KeyRing;
  readonly log: Log;
  /** Of the new key. */
  readonly algorithm: SigningAlgorithm;
}

/**
 * Publishes a new signing key at once; it signs when every verifier that keeps the key set as long as it may knows it,
 * and the old one retires then. While a key is next no other one is made: whoever asks gets that one, so that two
 * operators at once, or an operator and the rotation by age, make one rotation.
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
