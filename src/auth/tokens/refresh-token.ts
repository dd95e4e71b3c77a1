import { createHmac, timingSafeEqual } from "node:crypto";
import { BASE62_LENGTH_256, base62Of256, CHECKSUM_LENGTH, checksum62 } from "../../lib/base62.ts";
import { DomainError, type UntoldFacts } from "../../lib/errors.ts";
import { ID_LENGTH } from "../../lib/id.ts";
import { type KeyRing, masterKeyMissing } from "../../lib/key-ring.ts";
import type { RefreshSecret } from "../session.ts";

/*
 * The form of a refresh token: `<prefix>_ref_<session id:16>_<generation>_<mac:43><crc:6>`. The MAC is an HMAC-SHA-256
 * over session id, generation and the session's seed, under a key that is derived from the master key. So every
 * generation can be computed again, and no token is stored. A token can be made neither from a database dump alone nor
 * from the master key alone.
 */

/** The parts of a refresh token's text, before anything is looked up. */
export interface ParsedRefreshToken {
  readonly sessionId: string;
  readonly generation: number;
  /** As it was given; see `isGenuine`. */
  readonly mac: string;
}

const REST = new RegExp(
  `^([0-9A-Za-z]{${ID_LENGTH}})_([1-9][0-9]{0,8})_([0-9A-Za-z]{${BASE62_LENGTH_256}})[0-9A-Za-z]{${CHECKSUM_LENGTH}}$`,
);
const MAX_REST_LENGTH = ID_LENGTH + 1 + 9 + 1 + BASE62_LENGTH_256 + CHECKSUM_LENGTH;

/** Computes the token of one generation. @throws MASTER_KEY_MISSING if the ring lacks the session's version */
export function refreshTokenOf(
  ring: KeyRing,
  prefix: string,
  session: RefreshSecret & { readonly id: string; readonly generation: number },
): string {
  const mac = macOf(ring, session, session.id, session.generation);
  const unchecked = `${prefix}_ref_${session.id.slice("ses_".length)}_${session.generation}_${mac}`;
  return unchecked + checksum62(unchecked);
}

/** Checks form and checksum, without I/O; undefined for a text that can't be a refresh token of this service. */
export function parseRefreshToken(prefix: string, text: string): ParsedRefreshToken | undefined {
  const front = `${prefix}_ref_`;
  if (!text.startsWith(front) || text.length > front.length + MAX_REST_LENGTH) return undefined;
  const match = REST.exec(text.slice(front.length));
  if (match === null) return undefined;
  if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return { sessionId: `ses_${match[1]}`, generation: Number(match[2]), mac: match[3]! };
}

/**
 * Whether this service made the token, of any generation, for the session with this secret.
 *
 * @throws MASTER_KEY_MISSING if the ring lacks the session's version; then the answer is unknown
 */
export function isGenuine(ring: KeyRing, token: ParsedRefreshToken, secret: RefreshSecret): boolean {
  const expected = macOf(ring, secret, token.sessionId, token.generation);
  return timingSafeEqual(Buffer.from(expected), Buffer.from(token.mac));
}

/** The error for every invalid refresh token, the same for every fault. */
export function refreshTokenInvalid(untold?: UntoldFacts): DomainError {
  return new DomainError("REFRESH_TOKEN_INVALID", "the refresh token is not valid; log in again", untold && { untold });
}

function macOf(ring: KeyRing, secret: RefreshSecret, sessionId: string, generation: number): string {
  const key = ring.derive("refresh-token", secret.ringVersion);
  if (key === undefined) throw masterKeyMissing();
  const hmac = createHmac("sha256", key).update(`${sessionId}\0${generation}\0`).update(secret.seed);
  return base62Of256(hmac.digest());
}
