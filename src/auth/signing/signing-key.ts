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

/** A signing key as it is kept: its private part can be read only with the master secret. */
export interface SealedSigningKey {
  /** RFC 7638 thumbprint (SHA-256) of the public key. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** 12 bytes of nonce, 16 of tag, then the private JWK under AES-256-GCM. */
  readonly sealed: Uint8Array;
  /** Master key version that it is sealed under. */
  readonly sealVersion: number;
}

export interface SigningKeyRecord extends SealedSigningKey {
  readonly createdAtMs: number;
  /** Signs from here on; until then it is only published. */
  readonly activatesAtMs: number;
  /** Signs no more from here on. */
  readonly retiresAtMs: number | undefined;
  /** Neither signs nor verifies, whatever the other times say. */
  readonly revokedAtMs: number | undefined;
}

/**
 * Where a key stands in its life: published but not used yet; signs; signs no more, but its tokens may still live; taken
 * out, so that nothing it signed is good.
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

/** How long a verifier may keep the key set (`max-age` of its answer). */
export const JWKS_MAX_AGE_MS = 5 * MINUTE_MS;
/**
 * From a key's publication to its first signature: what verifiers may keep, and a minute for this service's own copies,
 * which are at most some seconds old, and for the way there.
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

/** Why a kept key can't be used. */
export type UnsealFailure = "version_missing" | "tampered";

/**
 * Opens a kept key. `tampered` covers every way in which the row is not what was sealed: other bytes, the key of another
 * row, another version or algorithm, a public part that does not belong to the private one.
 */
export async function unsealSigningKey(ring: KeyRing, kept: SealedSigningKey): Promise<SigningKey | UnsealFailure> {
  const key = ring.derive("signing-key-seal", kept.sealVersion);
  if (key === undefined) return "version_missing";
  const { kid, algorithm } = kept;
  try {
    const sealed = Buffer.from(kept.sealed);
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData(kept.sealVersion, kid, algorithm));
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
