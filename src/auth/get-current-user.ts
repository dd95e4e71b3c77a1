import { type GetUserDeps, getUser } from "./get-user.ts";
import type { User } from "./user.ts";

/** Reads the account of the person who makes the call. @throws USER_NOT_FOUND */
export function getCurrentUser(deps: GetUserDeps, input: { readonly userId: string }): Promise<User> {
  return getUser(deps, input);
}
