import { type Page, type PagePosition, pageOf } from "../lib/page.ts";
import { requireEmail } from "./email.ts";
import type { User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface ListUsersDeps {
  readonly users: Pick<UserStore, "list">;
}

export interface ListUsersInput {
  /** Only the account with this address; empty for all accounts. */
  readonly email: string;
  readonly size: number;
  readonly after: PagePosition | undefined;
}

/** Lists accounts, newest first. @throws INVALID_FIELD */
export async function listUsers(deps: ListUsersDeps, input: ListUsersInput): Promise<Page<User>> {
  const email = input.email === "" ? undefined : requireEmail("email", input.email);
  const emailForms = email && [email.normalized, email.typed];
  const found = await deps.users.list({ emailForms, after: input.after, limit: input.size + 1 });
  return pageOf(found, input.size);
}
