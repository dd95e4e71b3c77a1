import type { Actor } from "../audit/actor.ts";
import { isId } from "../lib/id.ts";
import { userNotFound } from "./get-user.ts";
import type { User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface EnableUserDeps {
  readonly users: Pick<UserStore, "enable">;
}

/** Enables a disabled account. Ended sessions and reset tokens stay ended. Idempotent. @throws USER_NOT_FOUND */
export async function enableUser(
  deps: EnableUserDeps,
  input: { readonly userId: string; readonly by: Actor },
): Promise<User> {
  const user = isId("usr", input.userId) ? await deps.users.enable({ id: input.userId, by: input.by }) : undefined;
  if (user === undefined) throw userNotFound();
  return user;
}
