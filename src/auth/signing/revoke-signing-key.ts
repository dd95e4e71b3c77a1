import type { Actor } from "../../audit/actor.ts";
import { DomainError } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import { newSigningKey, type SigningAlgorithm, type SigningKeyRecord } from "./signing-key.ts";
import type { SigningKeyStore } from "./signing-key-store.ts";

export interface RevokeSigningKeyDeps {
  readonly store: Pick<SigningKeyStore, "revoke">;
  readonly ring: KeyRing;
  readonly log: Log;
  /** Of the key that signs instead, if one must be made. */
  readonly algorithm: SigningAlgorithm;
}

/** RFC 7638 with SHA-256. */
const KID = /^[A-Za-z0-9_-]{43}$/;

/**
 * Takes a signing key out at once, for the emergency: this service refuses its tokens everywhere within the staleness
 * bound, and people get new ones by Refresh. Another key signs at once, without the time for verifiers elsewhere to learn
 * of it: those that keep the key set refuse its tokens, and accept those of the key that was taken out, until they fetch
 * the set again. Idempotent.
 *
 * @throws SIGNING_KEY_NOT_FOUND, DATABASE_UNAVAILABLE
 */
export async function revokeSigningKey(
  deps: RevokeSigningKeyDeps,
  input: { readonly kid: string; readonly by: Actor },
): Promise<SigningKeyRecord> {
  const { kid, by } = input;
  if (!KID.test(kid)) throw notFound();
  const replacement = await newSigningKey(deps.ring, deps.algorithm);
  const revoked = await deps.store.revoke({ kid, replacement, by });
  if (revoked === undefined) throw notFound();
  deps.log.warn("a signing key is revoked", { kid });
  return revoked;
}

function notFound(): DomainError {
  return new DomainError("SIGNING_KEY_NOT_FOUND", "no such signing key");
}
