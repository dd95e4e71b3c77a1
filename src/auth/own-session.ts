import type { KeyRing } from "../lib/key-ring.ts";
import type { SessionStore } from "./session-store.ts";
import { isGenuine, type ParsedRefreshToken } from "./tokens/refresh-token.ts";
import type { UserSecrets } from "./user.ts";

export interface OwnSessionDeps {
  readonly ring: KeyRing;
  readonly sessions: Pick<SessionStore, "shown">;
}

/**
 * Tells whether a refresh token shows that the caller is the owner of an account. The token may be of any generation,
 * and its session live or lapsed. Nothing changes.
 *
 * A session shows nothing if its owner, an operator or a reuse of its token ended it, because another person may have
 * its token. It also shows nothing if it began with another password than the account's current one.
 *
 * @returns the id of the session; undefined if the token shows nothing, or if this process lacks the master key version
 *   to check it
 */
export async function ownSession(
  { ring, sessions }: OwnSessionDeps,
  token: ParsedRefreshToken | undefined,
  account: UserSecrets | undefined,
): Promise<string | undefined> {
  if (token === undefined) return undefined;
  // Read even if there is no account, so that the time of the answer does not tell whether there is one.
  const session = await sessions.shown(token.sessionId);
  if (session === undefined || account === undefined) return undefined;
  if (session.userId !== account.user.id || session.passwordVersion !== account.passwordVersion) return undefined;
  if (!ring.versions.includes(session.ringVersion) || !isGenuine(ring, token, session)) return undefined;
  return token.sessionId;
}
