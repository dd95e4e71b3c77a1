import { DomainError, type UntoldFacts } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Limiter } from "../limits/limit.ts";
import type { SessionLifetimes } from "./session.ts";
import type { SessionStore } from "./session-store.ts";
import { isGenuine, parseRefreshToken, refreshTokenInvalid } from "./tokens/refresh-token.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./tokens/token-pair.ts";

export interface RefreshDeps extends TokenPairDeps {
  readonly sessions: Pick<SessionStore, "refreshSecret" | "advance">;
  readonly lifetimes: SessionLifetimes;
  readonly log: Log;
  readonly limiter: Pick<Limiter, "decide">;
  /** Maximum refreshes of one session in any minute. */
  readonly changesPerMinute: number;
}

export interface RefreshInput {
  readonly refreshToken: string;
  readonly clientIp: string;
}

/**
 * Exchanges a refresh token for new tokens (refresh token rotation with reuse detection, RFC 9700, 4.14.2). For
 * `refreshGraceMs` the token that was just replaced gets the same successor, so that a client can repeat a call whose
 * answer was lost. If an older token comes, two parties have it, so the exchange ends the session.
 *
 * The session's secret never changes, so it is read first. The exchange itself is one statement.
 *
 * @throws REFRESH_TOKEN_INVALID, the same for every fault of the token; TOO_MANY_CHANGES
 */
export async function refresh(deps: RefreshDeps, input: RefreshInput): Promise<TokenPair> {
  const token = parseRefreshToken(deps.keyPrefix, input.refreshToken);
  if (token === undefined) throw refreshTokenInvalid();
  const secret = await deps.sessions.refreshSecret(token.sessionId);
  if (secret === undefined || !isGenuine(deps.ring, token, secret)) throw refreshTokenInvalid();
  await checkRate(deps, token.sessionId);
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
      throw refreshTokenInvalid(spent(token.sessionId, outcome.userId));
    case "not_live":
      throw refreshTokenInvalid(spent(token.sessionId, outcome.userId));
    default:
      return outcome satisfies never;
  }
}

/** Limits the refreshes of one session: each one writes, so without a limit one session could fill the disk. */
async function checkRate({ limiter, changesPerMinute: perMinute }: RefreshDeps, sessionId: string): Promise<void> {
  const limits = [{ name: "", perMinute, perDay: undefined }];
  const { allowed, retryAfterMs } = await limiter.decide({ subject: `refreshes:${sessionId}`, cost: 1, limits });
  if (!allowed)
    throw new DomainError("TOO_MANY_CHANGES", "too many refreshes in a minute; try again later", { retryAfterMs });
}

/**
 * The facts for the audit trail about a genuine token whose session has ended, or whose generation is later than the
 * session's newest. Undefined for an unknown session.
 */
function spent(sessionId: string, userId: string | undefined): UntoldFacts | undefined {
  return userId === undefined ? undefined : { spent: { kind: "refresh_token", userId, sessionId } };
}
