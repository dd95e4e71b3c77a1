import type { Actor } from "../audit/actor.ts";
import { isId } from "../lib/id.ts";
import { userNotFound } from "./get-user.ts";
import type { SessionStore } from "./session-store.ts";

export interface EndUserSessionsDeps {
  readonly sessions: Pick<SessionStore, "endAllOf">;
}

/** Ends all sessions and reset tokens of a person. They may log in again. Idempotent. @throws USER_NOT_FOUND */
export async function endUserSessions(
  deps: EndUserSessionsDeps,
  input: { readonly userId: string; readonly by: Actor },
): Promise<void> {
  const { userId, by } = input;
  const found = isId("usr", userId) && (await deps.sessions.endAllOf({ userId, why: "ended_by_operator", by }));
  if (!found) throw userNotFound();
}
