/**
 * TOKENS. The three texts that a person's client holds: how they are made, and how they are read.
 *
 *   token-pair.ts     what a login or a refresh returns: an access token and a refresh token
 *   access-token.ts   a signed JWT, valid for minutes, for each call
 *   refresh-token.ts  computed from the session, exchanged for new tokens
 *   reset-token.ts    sets a password, once
 *
 * The folder reads no database and knows no account. The caller must find out whether a token's session is still live.
 */
import type { KeyRing } from "../../lib/key-ring.ts";
import type { GrantedSession } from "../session.ts";
import { type AccessTokenDeps, signAccessToken } from "./access-token.ts";
import { refreshTokenOf } from "./refresh-token.ts";

/** The tokens of a person who is logged in. */
export interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly accessExpiresAtMs: number;
  readonly refreshExpiresAtMs: number;
}

export interface TokenPairDeps extends AccessTokenDeps {
  readonly ring: KeyRing;
  /** First word of refresh tokens. */
  readonly keyPrefix: string;
  /** Life of an access token, which never outlives its session's `expiresAtMs`. */
  readonly accessTokenMs: number;
}

/**
 * The tokens of a session's newest generation. They are computed from the session's record alone. So a client that
 * repeats a Refresh within the grace, because the answer was lost, gets the same refresh token, claims and times.
 */
export async function tokenPairOf(deps: TokenPairDeps, session: GrantedSession): Promise<TokenPair> {
  const expiresAtMs = Math.min(session.refreshedAtMs + deps.accessTokenMs, session.expiresAtMs);
  const accessExpiresAtMs = Math.floor(expiresAtMs / 1000) * 1000;
  const accessToken = await signAccessToken(deps, {
    userId: session.userId,
    sessionId: session.id,
    tokenId: `${session.id}.${session.generation}`,
    issuedAtMs: session.refreshedAtMs,
    expiresAtMs: accessExpiresAtMs,
  });
  return Object.freeze({
    accessToken,
    refreshToken: refreshTokenOf(deps.ring, deps.keyPrefix, session),
    accessExpiresAtMs,
    refreshExpiresAtMs: session.expiresAtMs,
  });
}
