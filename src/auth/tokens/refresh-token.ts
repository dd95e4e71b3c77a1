import { createHmac, timingSafeEqual } from "node:crypto";
import { BASE62_LENGTH_256, base62Of256, CHECKSUM_LENGTH, checksum62 } from "../../lib/base62.ts";
import { DomainError, type UntoldFacts } from "../../lib/errors.ts";
import { ID_LENGTH } from "../../lib/id.ts";
import { type KeyRing, masterKeyMissing } from "../../lib/key-ring.ts";
import type { RefreshSecret } from "../session.ts";

/*
 * `<prefix>_ref_<session id:16>_<generation>_<mac:43><crc:6>`. The MAC is an HMAC-SHA-256 over session id, generation
 * and the session's seed, under a key of the master secret. So every generation can be computed again, no token is
 * stored, and neither a dump of the database nor the master secret alone makes one.
 */

/** What a refresh token says about itself before anything is looked up. */
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

/**
 * The token of one generation.
 * @throws MASTER_KEY_MISSING when the ring lacks the session's version
 */
export function refreshTokenOf(
  ring: KeyRing,
  prefix: string,
  session: RefreshSecret & { readonly id: string; readonly generation: number },
): string {
  const mac = macOf(ring, session, session.id, session.generation);
  const unchecked = `${prefix}_ref_${session.id.slice("ses_".length)}_${session.generation}_${mac}`;
  return unchecked + checksum62(unchecked);
}

/** Form and checksum, without I/O; undefined for whatever can't be a refresh token of this service. */
export function parseRefreshToken(prefix: string, text: string): ParsedRefreshToken | undefined {
  const front = `${prefix}_ref_`;
  if (!text.startsWith(front) || text.length > front.length + MAX_REST_LENGTH) return undefined;
  const match = REST.exec(text.slice(front.length));
  if (match === null) return undefined;
  if (text.slice(-CHECKSUM_LENGTH) !== checksum62(text.slice(0, -CHECKSUM_LENGTH))) return undefined;
  return { sessionId: `ses_${match[1]}`, generation: Number(match[2]), mac: match[3]! };
}

/**
 * Whether this service made the token for the session with this secret, in whatever generation.
 * @throws MASTER_KEY_MISSING when the ring lacks the session's version: then the answer is not known
 */
export function isGenuine(ring: KeyRing, token: ParsedRefreshToken, secret: RefreshSecret): boolean {
  const expected = macOf(ring, secret, token.sessionId, token.generation);
  return timingSafeEqual(Buffer.from(expected), Buffer.from(token.mac));
}

/** The one answer to every refresh token that is not good, whatever is wrong with it. */
export function refreshTokenInvalid(untold?: UntoldFacts): DomainError {
  return new DomainError("REFRESH_TOKEN_INVALID", "the refresh token is not valid; log in again", untold && { untold });
}

function macOf(ring: KeyRing, secret: RefreshSecret, sessionId: string, generation: number): string {
  const key = ring.derive("refresh-token", secret.ringVersion);
  if (key === undefined) throw masterKeyMissing();
  const hmac = createHmac("sha256", key).update(`${sessionId}\0${generation}\0`).update(secret.seed);
  return base62Of256(hmac.digest());
}
