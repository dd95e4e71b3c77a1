import type { KeyRing } from "../lib/key-ring.ts";
import type { SessionStore } from "./session-store.ts";
import { isGenuine, parseRefreshToken } from "./tokens/refresh-token.ts";

export interface LogoutDeps {
  readonly ring: KeyRing;
  readonly keyPrefix: string;
  readonly sessions: Pick<SessionStore, "refreshSecret" | "end">;
}

/** Ends the session of a genuine refresh token of any generation. Any other text ends nothing and is no error. */
export async function logout(
  deps: LogoutDeps,
  input: { readonly refreshToken: string; readonly clientIp: string },
): Promise<void> {
  const token = parseRefreshToken(deps.keyPrefix, input.refreshToken);
  if (token === undefined) return;
  const secret = await deps.sessions.refreshSecret(token.sessionId);
  if (secret === undefined || !isGenuine(deps.ring, token, secret)) return;
  await deps.sessions.end({ id: token.sessionId, why: "logout", by: { id: "", clientIp: input.clientIp } });
}
