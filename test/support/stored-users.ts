/** Users, sessions and reset tokens as the contract tests of stores insert them. */
import { randomBytes } from "node:crypto";
import type { NewSession } from "../../src/auth/session.ts";
import { newId } from "../../src/lib/id.ts";
import { DAYS, freshEmail } from "./people.ts";

/** The address from which users register. */
export const HOME = "192.0.2.1";

export function newStoredUser(scopes: readonly string[] = []) {
  const email = freshEmail();
  return { id: newId("usr"), email, emailNormalized: email, displayName: "", tier: "basic", scopes };
}

/** A session with the default lifetimes. */
export function newStoredSession(clientIp = HOME): NewSession {
  const times = { idleMs: 7 * DAYS, absoluteMs: 30 * DAYS };
  return { id: newId("ses"), seed: randomBytes(32), ringVersion: 1, ...times, userAgent: "", clientIp };
}

/** A reset token that is valid for a day. */
export function newStoredReset(digest: Uint8Array = randomBytes(32)) {
  return { digest, ringVersion: 1, lifeMs: DAYS };
}
