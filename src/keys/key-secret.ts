import { createHmac, timingSafeEqual } from "node:crypto";
import { CHECKSUM_LENGTH, checksum62 } from "../lib/base62.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { randomBase62 } from "../lib/random.ts";
import type { KeyKind, KeySecretDigest, SecretRehash } from "./key.ts";

/*
 * A raw key: `<prefix>_<environment>_<id:16><secret:43><crc:6>`, all base62 behind the second underscore. The secret is
 * 43 characters, 256 bits from the CSPRNG: it can't be guessed, so that one HMAC protects it as well as a slow hash
 * would. The CRC is no security: it refuses typing errors and junk without I/O, and makes secret scanners exact.
 */

const ID_LENGTH = 16;
const SECRET_LENGTH = 43;
/** First and second word have at most 16 characters each. */
export const MAX_KEY_LENGTH = 2 * (16 + 1) + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;
const BODY = /^[0-9A-Za-z]{65}$/;
/** Behind the second underscore; long enough to tell keys apart, short enough to reveal nothing. */
const PREFIX_ID_CHARACTERS = 3;
/** The second word of service credentials. */
export const SERVICE_ENVIRONMENT = "svc";

/** What the form of raw keys depends on. */
export interface KeyFormat {
  /** First word, such as `kit`. */
  readonly prefix: string;
  /** Second words of API keys. */
  readonly environments: readonly string[];
}

/** What a raw key says about itself before anything is looked up. */
export interface ParsedKey {
  readonly kind: KeyKind;
  readonly environment: string;
  readonly keyId: string;
}

export interface NewSecret {
  readonly keyId: string;
  /** To be shown once and never kept. */
  readonly rawKey: string;
  readonly displayPrefix: string;
  readonly secret: KeySecretDigest;
}

/** Makes a key, or with `keyId` one more secret of that key. */
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

/** Form and checksum, without I/O; undefined for whatever can't be a key of this service. */
export function parseKey(format: KeyFormat, text: string): ParsedKey | undefined {
  const front = `${format.prefix}_`;
  if (!text.startsWith(front)) return undefined;
  const second = text.indexOf("_", front.length);
  if (second < 0 || text.length !== second + 1 + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH) return undefined;
  const environment = text.slice(front.length, second);
  const kind = kindOf(format, environment);
  if (kind === undefined || !BODY.test(text.slice(second + 1))) return undefined;
  if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return { kind, environment, keyId: keyIdOf(kind, text.slice(second + 1, second + 1 + ID_LENGTH)) };
}

/** HMAC-SHA-256 of the whole raw key under the newest pepper. */
function digestOf(ring: KeyRing, rawKey: string): Buffer {
  return hmac(ring.currentKey("api-key-pepper"), rawKey);
}

/** What a secret that the raw key just matched is to be kept as; undefined unless its version is behind the ring's. */
export function rehashOf(ring: KeyRing, rawKey: string, secret: KeySecretDigest): SecretRehash | undefined {
  if (!ring.isBehind(secret.pepperVersion)) return undefined;
  return { from: secret, to: { digest: digestOf(ring, rawKey), pepperVersion: ring.current } };
}

/** What a raw key is compared with when its id is unknown, so that both cost the same. */
const NO_SECRETS: readonly KeySecretDigest[] = [{ digest: Buffer.alloc(32), pepperVersion: 0, expiresAtMs: undefined }];

/**
 * The secret among these that the raw key holds; undefined if it is none of them.
 *
 * @param isOver whether a secret can never be good again. One that is, under a version that the ring lacks, stands in
 *               nobody's way: the raw key is refused whether it holds that secret or none
 * @throws MissingPepper if none matches but one that may be good was kept under a version that the ring lacks: then the
 *         answer is not known, and "no" would turn a good key bad
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

/** A secret is kept under a master key version that this process was not given. */
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

function kindOf(format: KeyFormat, environment: string): KeyKind | undefined {
  if (environment === SERVICE_ENVIRONMENT) return "service";
  return format.environments.includes(environment) ? "api" : undefined;
}

function keyIdOf(kind: KeyKind, id: string): string {
  return `${kind === "service" ? "svc" : "key"}_${id}`;
}
