import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { SessionStore } from "./session-store.ts";

export interface RevokeSessionDeps {
  readonly sessions: Pick<SessionStore, "end">;
}

/** Ends one of a person's own sessions. Idempotent. @throws SESSION_NOT_FOUND, also for other people's sessions */
export async function revokeSession(
  deps: RevokeSessionDeps,
  input: { readonly userId: string; readonly sessionId: string; readonly clientIp: string },
): Promise<void> {
  const { userId, sessionId, clientIp } = input;
  const by = { id: userId, clientIp };
  const end = () => deps.sessions.end({ id: sessionId, userId, why: "revoked", by });
  const outcome = isId("ses", sessionId) ? await end() : "unknown";
  if (outcome === "ended") return;
  const extras = outcome === "anothers" ? { untold: { isAnothers: true as const } } : {};
  throw new DomainError("SESSION_NOT_FOUND", "no such session", extras);
}
