import type { EmailAddress } from "./email.ts";
import type { UserSecrets } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface FoundAccount {
  /** The form of the address by which failed logins are counted, whether or not there is an account. */
  readonly emailNormalized: string;
  readonly secrets: UserSecrets | undefined;
}

/**
 * The account of an address. It is kept by the normal form, except for accounts from before addresses were compared in NFC:
 * of those that became equal then, one has the normal form and each other one is still found by exactly its own.
 */
export async function findAccount(
  users: Pick<UserStore, "secretsByEmail">,
  { typed, normalized }: EmailAddress,
): Promise<FoundAccount> {
  const asTyped = typed === normalized ? undefined : await users.secretsByEmail(typed);
  if (asTyped !== undefined) return { emailNormalized: typed, secrets: asTyped };
  return { emailNormalized: normalized, secrets: await users.secretsByEmail(normalized) };
}
