import type { Actor } from "../audit/actor.ts";
import { DomainError } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import type { KeyRing } from "../lib/key-ring.ts";
import { userNotFound } from "./get-user.ts";
import type { PasswordResetStore } from "./password-reset-store.ts";
import { newResetToken } from "./tokens/reset-token.ts";

export interface CreatePasswordResetDeps {
  readonly passwordResets: Pick<PasswordResetStore, "create">;
  readonly ring: KeyRing;
  readonly keyPrefix: string;
}

export interface CreatedPasswordReset {
  /** For CompletePasswordReset. It is not stored. */
  readonly resetToken: string;
  readonly expiresAtMs: number;
  /** Whether the token revokes the account's API keys if the person decides nothing. */
  readonly revokesKeys: boolean;
}

export interface CreatePasswordResetInput {
  readonly userId: string;
  /** The operator's decision about the API keys of the account; see key-revocation.ts. */
  readonly revokeKeys: boolean | undefined;
  /** Whether all sessions and the password end at once, so that only the token opens the account. */
  readonly endAccess: boolean;
  readonly by: Actor;
}

/**
 * Makes a one-time token with which a person sets a new password. It invalidates earlier tokens of that person. Their
 * password and sessions stay until they use the token, except with `endAccess`.
 *
 * @throws USER_NOT_FOUND, USER_DISABLED
 */
export async function createPasswordReset(
  deps: CreatePasswordResetDeps,
  input: CreatePasswordResetInput,
): Promise<CreatedPasswordReset> {
  if (!isId("usr", input.userId)) throw userNotFound();
  const { token, kept } = newResetToken(deps.ring, deps.keyPrefix);
  const outcome = await deps.passwordResets.create({ ...input, reset: kept });
  switch (outcome.kind) {
    case "created":
      return { resetToken: token, expiresAtMs: outcome.expiresAtMs, revokesKeys: outcome.revokesKeys };
    case "no_such_user":
      throw userNotFound();
    case "user_disabled":
      throw new DomainError("USER_DISABLED", "the user is disabled; enable the account first");
    default:
      return outcome satisfies never;
  }
}
