import type { KeyRing } from "../../lib/key-ring.ts";
import type { GrantedSession } from "../session.ts";
import { type AccessTokenDeps, signAccessToken } from "./access-token.ts";
import { refreshTokenOf } from "./refresh-token.ts";

/** What a person holds after logging in. */
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
  /** Life of an access token; it never outlives its session. */
  readonly accessTokenMs: number;
}

/**
 * The tokens of a session's newest generation. They follow from the session's record alone, so that a Refresh whose
 * answer was lost, and is tried again within the grace, brings the same refresh token, claims and times.
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
