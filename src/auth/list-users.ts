import { requireEmail } from "./email.ts";
import { type ListPosition, type Page, pageOf, type User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface ListUsersDeps {
  readonly users: Pick<UserStore, "list">;
}

export interface ListUsersInput {
  /** Only the account with this address; empty: all. */
  readonly email: string;
  readonly size: number;
  readonly after: ListPosition | undefined;
}

/** Accounts, newest first. @throws INVALID_FIELD */
export async function listUsers(deps: ListUsersDeps, input: ListUsersInput): Promise<Page<User>> {
  const emailNormalized = input.email === "" ? undefined : requireEmail("email", input.email).normalized;
  const found = await deps.users.list({ emailNormalized, after: input.after, limit: input.size + 1 });
  return pageOf(found, input.size);
}
