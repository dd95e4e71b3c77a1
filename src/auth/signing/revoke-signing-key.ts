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
  /** The algorithm of the key that signs instead, if one must be made. */
  readonly algorithm: SigningAlgorithm;
}

/** An RFC 7638 thumbprint with SHA-256. */
const KID = /^[A-Za-z0-9_-]{43}$/;

/**
 * Revokes a signing key at once, for emergencies. Every process of this service refuses its tokens within the staleness
 * bound of 5 s, and people get new tokens by Refresh. Another key signs at once. Idempotent.
 *
 * Verifiers elsewhere have no time to learn of it. Until they fetch the key set again, they refuse tokens of the new
 * key and accept tokens of the revoked one.
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
