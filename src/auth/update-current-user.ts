import { invalidFields } from "../lib/errors.ts";
import { textViolation } from "../lib/text.ts";
import { userNotFound } from "./get-user.ts";
import { DISPLAY_NAME_RULE, type User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface UpdateCurrentUserDeps {
  readonly users: Pick<UserStore, "update">;
}

/** Changes the display name of a person's own account. @throws INVALID_FIELD, USER_NOT_FOUND */
export async function updateCurrentUser(
  deps: UpdateCurrentUserDeps,
  input: { readonly userId: string; readonly displayName: string; readonly clientIp: string },
): Promise<User> {
  const violation = textViolation("user.display_name", input.displayName, DISPLAY_NAME_RULE);
  if (violation !== undefined) throw invalidFields([violation]);
  const user = await deps.users.update({
    id: input.userId,
    patch: { displayName: input.displayName },
    by: { id: input.userId, clientIp: input.clientIp },
  });
  if (user === undefined) throw userNotFound();
  return user;
}
