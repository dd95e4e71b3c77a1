import type { EmailAddress } from "./email.ts";
import type { UserStore } from "./user-store.ts";

/**
 * The form of an address by which its account is found and its failed logins are counted. It is the normal form, except
 * for accounts from before addresses were compared in NFC: of those that became equal then, one has the normal form and
 * each other one is still found by exactly its own.
 */
export async function accountForm(users: Pick<UserStore, "secretsByEmail">, email: EmailAddress): Promise<string> {
  if (email.typed === email.normalized) return email.normalized;
  return (await users.secretsByEmail(email.typed)) === undefined ? email.normalized : email.typed;
}
