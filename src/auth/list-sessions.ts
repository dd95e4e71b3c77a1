import { type Page, type PagePosition, pageOf } from "../lib/page.ts";
import type { Session } from "./session.ts";
import type { SessionStore } from "./session-store.ts";

export interface ListSessionsDeps {
  readonly sessions: Pick<SessionStore, "listLive">;
}

/** Lists a person's live sessions, newest first. */
export async function listSessions(
  deps: ListSessionsDeps,
  input: { readonly userId: string; readonly size: number; readonly after: PagePosition | undefined },
): Promise<Page<Session>> {
  const { userId, after, size } = input;
  return pageOf(await deps.sessions.listLive({ userId, after, limit: size + 1 }), size);
}
