import type { Actor } from "../audit/actor.ts";
import { isId } from "../lib/id.ts";
import { userNotFound } from "./get-user.ts";
import type { LoginThrottle } from "./throttle/login-throttle.ts";
import type { UserStore } from "./user-store.ts";

export interface ClearLoginFailuresDeps {
  readonly users: Pick<UserStore, "secretsById">;
  readonly loginThrottle: LoginThrottle;
}

/**
 * Forgets the failed logins of an account, so that its owner can log in from anywhere again. Idempotent.
 *
 * @throws USER_NOT_FOUND
 */
export async function clearLoginFailures(
  deps: ClearLoginFailuresDeps,
  input: { readonly userId: string; readonly by: Actor },
): Promise<void> {
  const { userId, by } = input;
  const found = isId("usr", userId) ? await deps.users.secretsById(userId) : undefined;
  if (found === undefined) throw userNotFound();
  await deps.loginThrottle.clear({ emailNormalized: found.emailNormalized, userId, by });
}
