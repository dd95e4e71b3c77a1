import { type GetUserDeps, getUser } from "./get-user.ts";
import type { User } from "./user.ts";

/** The account of whoever is logged in. */
export function getCurrentUser(deps: GetUserDeps, input: { readonly userId: string }): Promise<User> {
  return getUser(deps, input);
}
