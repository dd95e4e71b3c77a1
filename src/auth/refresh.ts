import type { Log } from "../lib/log.ts";
import { isGenuine, parseRefreshToken, refreshTokenInvalid } from "./refresh-token.ts";
import type { SessionLifetimes } from "./session.ts";
import type { SessionStore } from "./session-store.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./token-pair.ts";

export interface RefreshDeps extends TokenPairDeps {
  readonly sessions: Pick<SessionStore, "refreshSecret" | "advance">;
  readonly lifetimes: SessionLifetimes;
  readonly log: Log;
}

export interface RefreshInput {
  readonly refreshToken: string;
  readonly clientIp: string;
}

/**
 * Exchanges a refresh token for new tokens. The token just replaced gets the same successor for some seconds, so that a
 * lost answer may be asked for again. An older one is in two hands: the session ends (RFC 9700, 4.14.2).
 *
 * The secret is read first because it never changes; the exchange itself is one statement.
 *
 * @throws REFRESH_TOKEN_INVALID, the same for whatever is wrong with the token
 */
export async function refresh(deps: RefreshDeps, input: RefreshInput): Promise<TokenPair> {
  const token = parseRefreshToken(deps.keyPrefix, input.refreshToken);
  if (token === undefined) throw refreshTokenInvalid();
  const secret = await deps.sessions.refreshSecret(token.sessionId);
  if (secret === undefined || !isGenuine(deps.ring, token, secret)) throw refreshTokenInvalid();
  const outcome = await deps.sessions.advance({
    id: token.sessionId,
    generation: token.generation,
    idleMs: deps.lifetimes.refreshIdleMs,
    graceMs: deps.lifetimes.refreshGraceMs,
    clientIp: input.clientIp,
  });
  const facts = { session_id: token.sessionId, client_ip: input.clientIp };
  switch (outcome.kind) {
    case "granted":
      return tokenPairOf(deps, outcome.session);
    case "reused":
      deps.log.warn("a refresh token was used again; the session has ended", { ...facts, user_id: outcome.userId });
      throw refreshTokenInvalid();
    case "ahead":
      deps.log.warn("a refresh token is newer than its session", { ...facts, user_id: outcome.userId });
      throw refreshTokenInvalid();
    case "not_live":
      throw refreshTokenInvalid();
    default:
      return outcome satisfies never;
  }
}
