import { DomainError, type UntoldFacts } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import { isLive } from "./session.ts";
import type { SessionCache } from "./session-cache.ts";
import { type VerifyAccessTokenDeps, verifyAccessToken } from "./tokens/access-token.ts";

export interface AuthenticateUserDeps extends VerifyAccessTokenDeps {
  readonly sessionCache: Pick<SessionCache, "standing">;
}

/** The user who makes a call. */
export interface AuthenticatedUser {
  readonly userId: string;
  readonly sessionId: string;
}

/**
 * Finds the user who makes a call, by an access token. Run it at every call. A valid signature tells only who logged
 * in. The session's record, at most 5 s old, tells whether the session is still live.
 *
 * @throws CREDENTIAL_INVALID; DATABASE_UNAVAILABLE or MASTER_KEY_MISSING if that can't be known
 */
export async function authenticateUser(
  deps: AuthenticateUserDeps,
  input: { readonly accessToken: string },
): Promise<AuthenticatedUser> {
  const claims = await verifyAccessToken(deps, input.accessToken);
  if (claims === undefined || !isId("ses", claims.sessionId)) throw credentialInvalid();
  const standing = await deps.sessionCache.standing(claims.sessionId);
  const { userId, sessionId } = claims;
  if (standing === undefined || standing.userId !== userId) throw credentialInvalid();
  if (!isLive(standing, deps.databaseClock.nowMs())) {
    throw credentialInvalid({ spent: { kind: "access_token", userId, sessionId } });
  }
  return { userId, sessionId };
}

function credentialInvalid(untold?: UntoldFacts): DomainError {
  return new DomainError(
    "CREDENTIAL_INVALID",
    "the credential is not valid; refresh the access token, or log in again",
    untold && { untold },
  );
}
