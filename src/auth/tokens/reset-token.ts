import { createHmac } from "node:crypto";
import { BASE62_LENGTH_256, CHECKSUM_LENGTH, checksum62 } from "../../lib/base62.ts";
import { DAY_MS } from "../../lib/clock.ts";
import { DomainError, type UntoldFacts } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import { randomBase62 } from "../../lib/random.ts";

/*
 * The form of a reset token: `<prefix>_reset_<secret:43><crc:6>`. The secret has 256 bits from the CSPRNG. The database
 * stores and finds a token by its HMAC under a key that is derived from the master key. All versions of the ring are
 * tried.
 */

/** Life of a token. NIST SP 800-63B-4, 3.1.3.2 allows at most a day for codes that are sent by e-mail. */
const RESET_TOKEN_MS = DAY_MS;

/** A one-time token that is about to be stored. */
export interface NewResetToken {
  readonly digest: Uint8Array;
  /** The master key version under which it was made. */
  readonly ringVersion: number;
  /** Life from the moment at which it is stored. */
  readonly lifeMs: number;
}

/** Makes a token: the text for the person, and the record to store. */
export function newResetToken(ring: KeyRing, prefix: string): { readonly token: string; readonly kept: NewResetToken } {
  const unchecked = `${prefix}_reset_${randomBase62(BASE62_LENGTH_256)}`;
  const token = unchecked + checksum62(unchecked);
  const digest = digestOf(ring.currentKey("reset-token"), token);
  return { token, kept: { digest, ringVersion: ring.current, lifeMs: RESET_TOKEN_MS } };
}

/** The digests under which the token may be stored, the newest version first; undefined for a text of another form. */
export function resetTokenDigests(ring: KeyRing, prefix: string, token: string): readonly Buffer[] | undefined {
  const front = `${prefix}_reset_`;
  if (token.length !== front.length + BASE62_LENGTH_256 + CHECKSUM_LENGTH || !token.startsWith(front)) return undefined;
  if (!/^[0-9A-Za-z]+$/.test(token.slice(front.length))) return undefined;
  if (token.slice(-CHECKSUM_LENGTH) !== checksum62(token.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return ring.versions.map((version) => digestOf(ring.derive("reset-token", version) as Buffer, token));
}

/** The error for every invalid reset token, the same for every fault. */
export function resetTokenInvalid(untold?: UntoldFacts): DomainError {
  const extras = untold && { untold };
  return new DomainError("RESET_TOKEN_INVALID", "the reset token is not valid; ask an operator for a new one", extras);
}

function digestOf(key: Buffer, token: string): Buffer {
  return createHmac("sha256", key).update(token).digest();
}
