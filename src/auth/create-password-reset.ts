import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { userNotFound } from "./get-user.ts";
import type { PasswordResetStore } from "./password-reset-store.ts";
import { newResetToken } from "./reset-token.ts";
import type { ChangedBy } from "./user.ts";

export interface CreatePasswordResetDeps {
  readonly passwordResets: Pick<PasswordResetStore, "create">;
  readonly ring: KeyRing;
  readonly keyPrefix: string;
}

export interface CreatedPasswordReset {
  /** For CompletePasswordReset; kept nowhere. */
  readonly resetToken: string;
  readonly expiresAtMs: number;
}

/**
 * Makes a one-time token with which a person sets a new password. Earlier ones of that person are good no more. His
 * password and sessions stay until he uses it.
 *
 * @throws USER_NOT_FOUND, USER_DISABLED
 */
export async function createPasswordReset(
  deps: CreatePasswordResetDeps,
  input: { readonly userId: string; readonly by: ChangedBy },
): Promise<CreatedPasswordReset> {
  const { userId, by } = input;
  if (!isId("usr", userId)) throw userNotFound();
  const { token, kept } = newResetToken(deps.ring, deps.keyPrefix);
  const outcome = await deps.passwordResets.create({ userId, reset: kept, by });
  switch (outcome.kind) {
    case "created":
      return { resetToken: token, expiresAtMs: outcome.expiresAtMs };
    case "no_such_user":
      throw userNotFound();
    case "user_disabled":
      throw new DomainError("USER_DISABLED", "the user is disabled; enable the account first");
    default:
      return outcome satisfies never;
  }
}
