import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface GetUserDeps {
  readonly users: Pick<UserStore, "find">;
}

/** Reads one account. @throws USER_NOT_FOUND */
export async function getUser(deps: GetUserDeps, input: { readonly userId: string }): Promise<User> {
  const user = isId("usr", input.userId) ? await deps.users.find(input.userId) : undefined;
  if (user === undefined) throw userNotFound();
  return user;
}

export function userNotFound(): DomainError {
  return new DomainError("USER_NOT_FOUND", "no such user");
}
