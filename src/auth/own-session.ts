import type { KeyRing } from "../lib/key-ring.ts";
import type { SessionStore } from "./session-store.ts";
import { isGenuine, type ParsedRefreshToken } from "./tokens/refresh-token.ts";
import type { UserSecrets } from "./user.ts";

export interface OwnSessionDeps {
  readonly ring: KeyRing;
  readonly sessions: Pick<SessionStore, "shown">;
}

/**
 * The session of an account whose refresh token is shown: of any generation, and of a session that is live or has lapsed.
 * It shows that the caller is the account's owner, and changes nothing.
 *
 * A session that was ended by its owner, an operator or a reuse of its token shows nothing, because its token may be in
 * other hands. Nor does one that began with another password than the account has now.
 *
 * @returns its id; undefined for a token that shows nothing, also where this process lacks the key that would tell
 */
export async function ownSession(
  { ring, sessions }: OwnSessionDeps,
  token: ParsedRefreshToken | undefined,
  account: UserSecrets | undefined,
): Promise<string | undefined> {
  if (token === undefined) return undefined;
  // Read also where there is no account, so that the time of the answer does not tell.
  const session = await sessions.shown(token.sessionId);
  if (session === undefined || account === undefined) return undefined;
  if (session.userId !== account.user.id || session.passwordVersion !== account.passwordVersion) return undefined;
  if (!ring.versions.includes(session.ringVersion) || !isGenuine(ring, token, session)) return undefined;
  return token.sessionId;
}
