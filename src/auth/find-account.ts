import type { EmailAddress } from "./email.ts";
import type { UserSecrets } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface FoundAccount {
  /** The form of the address by which failed logins are counted, even if there is no account. */
  readonly emailNormalized: string;
  readonly secrets: UserSecrets | undefined;
}

/**
 * Finds the account of an address. An account is stored under the normalized form of its address.
 *
 * Some accounts are older than the comparison in NFC, and they are the exception. If their addresses became equal, one
 * account has the normalized form. The others are still found, but only by exactly their own form.
 */
export async function findAccount(
  users: Pick<UserStore, "secretsByEmail">,
  { typed, normalized }: EmailAddress,
): Promise<FoundAccount> {
  const asTyped = typed === normalized ? undefined : await users.secretsByEmail(typed);
  if (asTyped !== undefined) return { emailNormalized: typed, secrets: asTyped };
  return { emailNormalized: normalized, secrets: await users.secretsByEmail(normalized) };
}
