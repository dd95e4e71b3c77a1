/**
 * SIGNING KEYS. The keys that sign access tokens. A key is published before it signs, signs for some time, and verifies
 * until its last token has expired. Its private part is stored sealed under the master key.
 *
 *   signing-key.ts          one key: its states, and how it is made, sealed and unsealed
 *   signing-keys.ts         the keys of this process: which one signs, which ones verify, and the published key set
 *   signing-key-store.ts    what the folder needs from the database
 *   list-signing-keys.ts, rotate-signing-key.ts, revoke-signing-key.ts
 *                           one verb each, for operators
 *
 * The folder knows nothing of people, sessions or the claims of tokens.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { calculateJwkThumbprint, type JWK } from "jose";
import { MINUTE_MS } from "../../lib/clock.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import { randomBytes } from "../../lib/random.ts";

/** JWA names (RFC 8037, RFC 7518). */
export type SigningAlgorithm = "EdDSA" | "ES256";

/** A signing key as it is stored: its private part can be read only with the master key. */
export interface SealedSigningKey {
  /** RFC 7638 thumbprint (SHA-256) of the public key. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** 12 bytes of nonce, 16 bytes of tag, then the private JWK under AES-256-GCM. */
  readonly sealed: Uint8Array;
  /** The master key version under which it is sealed. */
  readonly sealVersion: number;
}

export interface SigningKeyRecord extends SealedSigningKey {
  readonly createdAtMs: number;
  /** Signs from this time on. Before, it is only published. */
  readonly activatesAtMs: number;
  /** No longer signs from this time on; undefined while no other key waits to replace it. */
  readonly retiresAtMs: number | undefined;
  /** If set, it neither signs nor verifies, whatever the other times say. */
  readonly revokedAtMs: number | undefined;
}

/**
 * The state of a key:
 *
 * - `next`: published, but does not sign yet
 * - `active`: signs
 * - `retired`: no longer signs, but verifies, because its tokens may still be valid
 * - `revoked`: neither signs nor verifies, so all its tokens are invalid
 */
export type SigningKeyState = "next" | "active" | "retired" | "revoked";

/** A signing key whose private part was unsealed. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** For publication; computed from the private key, never read from the database. */
  readonly publicJwk: JWK;
}

/** Time for which a verifier may cache the key set (`max-age` of its answer). */
export const JWKS_MAX_AGE_MS = 5 * MINUTE_MS;
/**
 * Time from a key's publication to its first signature. It is the time for which verifiers cache the key set, and one
 * minute more. The minute is for the network and for this service's own copies, which are at most some seconds old.
 */
export const SIGNING_LEAD_MS = JWKS_MAX_AGE_MS + MINUTE_MS;

export function signingKeyState(key: SigningKeyRecord, nowMs: number): SigningKeyState {
  if (key.revokedAtMs !== undefined) return "revoked";
  if (key.retiresAtMs !== undefined && key.retiresAtMs <= nowMs) return "retired";
  return key.activatesAtMs <= nowMs ? "active" : "next";
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Makes a new key and seals it under the ring's current version. */
export async function newSigningKey(ring: KeyRing, algorithm: SigningAlgorithm): Promise<SealedSigningKey> {
  const { privateKey } =
    algorithm === "EdDSA" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const kid = await calculateJwkThumbprint(createPublicKey(privateKey).export({ format: "jwk" }) as JWK, "sha256");
  return sealSigningKey(ring, { kid, algorithm, privateKey });
}

/** Seals a key under the ring's current version. */
export function sealSigningKey(
  ring: KeyRing,
  { kid, algorithm, privateKey }: Pick<SigningKey, "kid" | "algorithm" | "privateKey">,
): SealedSigningKey {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", ring.currentKey("signing-key-seal"), nonce);
  cipher.setAAD(associatedData(ring.current, kid, algorithm));
  const text = JSON.stringify(privateKey.export({ format: "jwk" }));
  const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  const sealed = Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
  return Object.freeze({ kid, algorithm, sealed, sealVersion: ring.current });
}

/** Why a stored key can't be used. */
export type UnsealFailure = "version_missing" | "tampered";

/**
 * Unseals a stored key. `tampered` means that the row is not what was sealed. It has other bytes, the key of another
 * row, another version or algorithm, or a `kid` that does not belong to the private key.
 */
export async function unsealSigningKey(ring: KeyRing, stored: SealedSigningKey): Promise<SigningKey | UnsealFailure> {
  const key = ring.derive("signing-key-seal", stored.sealVersion);
  if (key === undefined) return "version_missing";
  const { kid, algorithm } = stored;
  try {
    const sealed = Buffer.from(stored.sealed);
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData(stored.sealVersion, kid, algorithm));
    decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    const text = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    const privateKey = createPrivateKey({ key: JSON.parse(text.toString("utf8")), format: "jwk" });
    const publicKey = createPublicKey(privateKey);
    const jwk = publicKey.export({ format: "jwk" }) as JWK;
    if ((await calculateJwkThumbprint(jwk, "sha256")) !== kid) return "tampered";
    const publicJwk = Object.freeze({ ...jwk, kid, alg: algorithm, use: "sig" });
    return Object.freeze({ kid, algorithm, privateKey, publicKey, publicJwk });
  } catch {
    return "tampered";
  }
}

function associatedData(version: number, kid: string, algorithm: SigningAlgorithm): Buffer {
  return Buffer.from(`latchkey/v1/signing-key\0${version}\0${kid}\0${algorithm}`);
}
