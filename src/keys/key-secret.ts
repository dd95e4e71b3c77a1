import { createHmac, timingSafeEqual } from "node:crypto";
import { checksum62 } from "../lib/base62.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { randomBase62 } from "../lib/random.ts";
import type { KeySecretDigest, SecretRehash } from "./key.ts";
import { ID_LENGTH, type KeyFormat, keyIdOf, SECRET_LENGTH, SERVICE_ENVIRONMENT } from "./key-form.ts";

/** Characters of the id in the displayed prefix: enough to tell keys apart, too few to reveal anything. */
const PREFIX_ID_CHARACTERS = 3;
export interface NewSecret {
  readonly keyId: string;
  /** Show it once, and never store it. */
  readonly rawKey: string;
  readonly displayPrefix: string;
  readonly secret: KeySecretDigest;
}

/** Makes a new key, or with `keyId` one more secret of that key. */
export function newSecret(ring: KeyRing, format: KeyFormat, environment: string, keyId?: string): NewSecret {
  const kind = environment === SERVICE_ENVIRONMENT ? "service" : "api";
  const id = keyId === undefined ? randomBase62(ID_LENGTH) : keyId.slice(keyId.indexOf("_") + 1);
  const front = `${format.prefix}_${environment}_`;
  const unchecked = front + id + randomBase62(SECRET_LENGTH);
  const rawKey = unchecked + checksum62(unchecked);
  return {
    keyId: keyIdOf(kind, id),
    rawKey,
    displayPrefix: front + id.slice(0, PREFIX_ID_CHARACTERS),
    secret: { digest: digestOf(ring, rawKey), pepperVersion: ring.current, expiresAtMs: undefined },
  };
}

/** The HMAC-SHA-256 of the whole raw key under the current pepper. */
function digestOf(ring: KeyRing, rawKey: string): Buffer {
  return hmac(ring.currentKey("api-key-pepper"), rawKey);
}

/** The rehash of a secret that the raw key just matched; undefined unless its version is behind the ring's. */
export function rehashOf(ring: KeyRing, rawKey: string, secret: KeySecretDigest): SecretRehash | undefined {
  if (!ring.isBehind(secret.pepperVersion)) return undefined;
  return { from: secret, to: { digest: digestOf(ring, rawKey), pepperVersion: ring.current } };
}

/** The secret to compare with when the id is unknown, so that known and unknown ids take the same time. */
const NO_SECRETS: readonly KeySecretDigest[] = [{ digest: Buffer.alloc(32), pepperVersion: 0, expiresAtMs: undefined }];

/**
 * Finds the stored secret that the raw key matches; undefined if there is none.
 *
 * @param isOver whether a secret can never be valid again. Such a secret does not throw if the ring lacks its version:
 *   the raw key is refused in any case
 * @throws MissingPepper if no secret matches, and one that may be valid is stored under a version that the ring lacks.
 *   The answer is then unknown, and "no" could refuse a good key
 */
export function findSecret(
  ring: KeyRing,
  rawKey: string,
  secrets: readonly KeySecretDigest[],
  isOver: (secret: KeySecretDigest) => boolean = () => false,
): KeySecretDigest | undefined {
  let found: KeySecretDigest | undefined;
  let missing: number | undefined;
  for (const secret of secrets.length > 0 ? secrets : NO_SECRETS) {
    const pepper = secret.pepperVersion === 0 ? Buffer.alloc(32) : ring.derive("api-key-pepper", secret.pepperVersion);
    if (pepper === undefined) {
      if (!isOver(secret)) missing = secret.pepperVersion;
      continue;
    }
    if (timingSafeEqual(hmac(pepper, rawKey), secret.digest) && secret.pepperVersion !== 0) found = secret;
  }
  if (found === undefined && missing !== undefined) throw new MissingPepper(missing);
  return found;
}

/** The error for a secret that is stored under a master key version that this process does not have. */
export class MissingPepper extends Error {
  override readonly name = "MissingPepper";
  readonly version: number;

  constructor(version: number) {
    super(`master key version ${version} is in use but not in LATCHKEY_MASTER_KEYS`);
    this.version = version;
  }
}

function hmac(pepper: Buffer, rawKey: string): Buffer {
  return createHmac("sha256", pepper).update(rawKey).digest();
}
