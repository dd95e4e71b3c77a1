import { invalidFields, type UntoldFacts } from "../lib/errors.ts";
import type { LoginThrottle } from "./login-throttle.ts";
import type { PasswordHasher } from "./password.ts";
import type { PasswordResetStore } from "./password-reset-store.ts";
import { type PasswordRules, passwordViolation } from "./password-rules.ts";
import { resetTokenDigests, resetTokenInvalid } from "./reset-token.ts";
import { type LoginOrigin, newSession, type SessionLifetimes } from "./session.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./token-pair.ts";
import type { UserStore } from "./user-store.ts";

export interface CompletePasswordResetDeps extends TokenPairDeps {
  readonly passwordResets: PasswordResetStore;
  readonly users: Pick<UserStore, "secretsById">;
  readonly passwords: PasswordHasher;
  readonly passwordRules: PasswordRules;
  readonly lifetimes: SessionLifetimes;
  readonly loginThrottle: LoginThrottle;
}

export interface CompletePasswordResetInput extends LoginOrigin {
  readonly resetToken: string;
  readonly newPassword: string;
  readonly signal?: AbortSignal;
}

/**
 * Sets a password by a one-time token, ends all sessions and begins a new one. A password that breaks a rule does not
 * use the token up; a token that is not good costs no hash. Failed logins are forgotten: who is locked out by them comes
 * in again this way.
 *
 * @throws RESET_TOKEN_INVALID, INVALID_FIELD, TOO_MANY_ATTEMPTS, OVERLOADED
 */
export async function completePasswordReset(
  deps: CompletePasswordResetDeps,
  input: CompletePasswordResetInput,
): Promise<TokenPair> {
  const digests = resetTokenDigests(deps.ring, deps.keyPrefix, input.resetToken);
  if (digests === undefined) throw resetTokenInvalid();
  using place = deps.passwords.enter(input.signal);
  const user = await deps.passwordResets.find(digests);
  if (user === undefined) throw resetTokenInvalid(await spent(deps, digests));
  const violation = passwordViolation(deps.passwordRules, {
    field: "new_password",
    password: input.newPassword,
    email: user.email,
  });
  if (violation !== undefined) throw invalidFields([violation]);
  // The form that is kept: that of an account from before NFC may be another one than the address now has.
  const emailNormalized = (await deps.users.secretsById(user.id))?.emailNormalized;
  if (emailNormalized === undefined) throw resetTokenInvalid();
  const attempt = deps.loginThrottle.begin({ clientIp: input.clientIp, emailNormalized, isGuess: false });
  await attempt.check();
  const session = await deps.passwordResets.complete({
    digests,
    passwordHash: await place.hash(input.newPassword, () => attempt.count()),
    session: newSession(deps.ring, deps.lifetimes, input),
    clientIp: input.clientIp,
  });
  if (session === undefined) throw resetTokenInvalid(await spent(deps, digests));
  await attempt.succeed();
  return tokenPairOf(deps, session);
}

/** For the trail: someone has shown a genuine token that is used up or has expired, or is of a disabled account. */
async function spent(
  { passwordResets }: CompletePasswordResetDeps,
  digests: readonly Uint8Array[],
): Promise<UntoldFacts | undefined> {
  const userId = await passwordResets.ownerOf(digests);
  return userId === undefined ? undefined : { spent: { kind: "reset_token", userId } };
}
