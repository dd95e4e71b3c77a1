import type { Actor } from "../audit/actor.ts";
import { isId } from "../lib/id.ts";
import { userNotFound } from "./get-user.ts";
import type { User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface DisableUserDeps {
  readonly users: Pick<UserStore, "disable">;
}

/**
 * Disables an account: ends sessions and reset tokens, and makes its keys OWNER_DISABLED. Idempotent.
 *
 * @throws USER_NOT_FOUND
 */
export async function disableUser(
  deps: DisableUserDeps,
  input: { readonly userId: string; readonly by: Actor },
): Promise<User> {
  const user = isId("usr", input.userId) ? await deps.users.disable({ id: input.userId, by: input.by }) : undefined;
  if (user === undefined) throw userNotFound();
  return user;
}
