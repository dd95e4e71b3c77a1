import { createHmac } from "node:crypto";
import { BASE62_LENGTH_256, CHECKSUM_LENGTH, checksum62 } from "../../lib/base62.ts";
import { DAY_MS } from "../../lib/clock.ts";
import { DomainError, type UntoldFacts } from "../../lib/errors.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import { randomBase62 } from "../../lib/random.ts";

/*
 * `<prefix>_reset_<secret:43><crc:6>`, 256 bits from the CSPRNG. It is kept as an HMAC under a key of the master secret,
 * and found by it: all versions of the ring are tried.
 */

/** NIST SP 800-63B-4, 3.1.3.2 bounds codes that are sent by e-mail to a day. */
const RESET_TOKEN_MS = DAY_MS;

/** A one-time token that is about to be kept. */
export interface NewResetToken {
  readonly digest: Uint8Array;
  /** Master key version that it was made under. */
  readonly ringVersion: number;
  /** From the moment at which it is kept. */
  readonly lifeMs: number;
}

/** Makes a token: the text for the person, and what is kept of it. */
export function newResetToken(ring: KeyRing, prefix: string): { readonly token: string; readonly kept: NewResetToken } {
  const unchecked = `${prefix}_reset_${randomBase62(BASE62_LENGTH_256)}`;
  const token = unchecked + checksum62(unchecked);
  const digest = digestOf(ring.currentKey("reset-token"), token);
  return { token, kept: { digest, ringVersion: ring.current, lifeMs: RESET_TOKEN_MS } };
}

/** Under which digests the token may be kept, the newest version first; undefined for what can't be such a token. */
export function resetTokenDigests(ring: KeyRing, prefix: string, token: string): readonly Buffer[] | undefined {
  const front = `${prefix}_reset_`;
  if (token.length !== front.length + BASE62_LENGTH_256 + CHECKSUM_LENGTH || !token.startsWith(front)) return undefined;
  if (!/^[0-9A-Za-z]+$/.test(token.slice(front.length))) return undefined;
  if (token.slice(-CHECKSUM_LENGTH) !== checksum62(token.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return ring.versions.map((version) => digestOf(ring.derive("reset-token", version) as Buffer, token));
}

/** The one answer to every reset token that is not good. */
export function resetTokenInvalid(untold?: UntoldFacts): DomainError {
  const extras = untold && { untold };
  return new DomainError("RESET_TOKEN_INVALID", "the reset token is not valid; ask an operator for a new one", extras);
}

function digestOf(key: Buffer, token: string): Buffer {
  return createHmac("sha256", key).update(token).digest();
}
