import { invalidFields, type UntoldFacts } from "../lib/errors.ts";
import type { PasswordResetStore } from "./password-reset-store.ts";
import type { PasswordHasher } from "./passwords/password.ts";
import { type PasswordRules, passwordViolation } from "./passwords/password-rules.ts";
import { type LoginOrigin, newSession, type SessionLifetimes } from "./session.ts";
import type { LoginAttempt } from "./throttle/login-attempt.ts";
import type { LoginThrottle } from "./throttle/login-throttle.ts";
import { resetTokenDigests, resetTokenInvalid } from "./tokens/reset-token.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./tokens/token-pair.ts";
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
  /** The person's decision about the API keys of the account; see key-revocation.ts. */
  readonly revokeKeys?: boolean | undefined;
  readonly signal?: AbortSignal;
}

export interface CompletedPasswordReset {
  readonly tokens: TokenPair;
  /** Number of API keys of the account that the reset revoked. */
  readonly revokedKeys: number;
}

/**
 * Sets a password by a one-time token, ends all sessions, begins a new one, and revokes the account's API keys if
 * `decideRevocation` says so. A password that breaks a rule does not use up the token. An invalid token costs no hash.
 * Failed logins are forgotten, so that a person whom the throttle locked out can log in again.
 *
 * @throws RESET_TOKEN_INVALID, INVALID_FIELD, TOO_MANY_ATTEMPTS, OVERLOADED
 */
export async function completePasswordReset(
  deps: CompletePasswordResetDeps,
  input: CompletePasswordResetInput,
): Promise<CompletedPasswordReset> {
  const digests = resetTokenDigests(deps.ring, deps.keyPrefix, input.resetToken);
  if (digests === undefined) throw resetTokenInvalid();
  const { newPassword, clientIp, revokeKeys } = input;
  const attempt = deps.loginThrottle.begin({ clientIp, isGuess: false, mayProve: true });
  using turns = deps.passwords.turnsOf(attempt, input.signal);
  await turns.judge(() => judge(deps, input, digests, attempt));
  const passwordHash = await turns.hash(async () => {
    await attempt.count();
    return deps.passwords.hash(newPassword);
  });
  const completed = await deps.passwordResets.complete({
    digests,
    passwordHash,
    session: newSession(deps.ring, deps.lifetimes, input),
    clientIp,
    revokeKeys,
  });
  if (completed === undefined) throw resetTokenInvalid(await spent(deps, digests));
  await attempt.succeed();
  return { tokens: await tokenPairOf(deps, completed.session), revokedKeys: completed.revokedKeys };
}

/** Checks token and password. An unknown token counts as a failure of its address, so that no caller can try many. */
async function judge(
  deps: CompletePasswordResetDeps,
  { newPassword }: CompletePasswordResetInput,
  digests: readonly Uint8Array[],
  attempt: LoginAttempt,
): Promise<void> {
  const user = await deps.passwordResets.find(digests);
  // The stored form. An account that is older than the comparison in NFC may have another form than its address now.
  const emailNormalized = user && (await deps.users.secretsById(user.id))?.emailNormalized;
  if (user === undefined || emailNormalized === undefined) {
    await attempt.countMiss();
    throw resetTokenInvalid(await spent(deps, digests));
  }
  const violation = passwordViolation(deps.passwordRules, {
    field: "new_password",
    password: newPassword,
    email: user.email,
  });
  if (violation !== undefined) throw invalidFields([violation]);
  await attempt.check(emailNormalized, { isOwner: true });
}

/**
 * The facts for the audit trail about a genuine token that is used up or expired, or whose account is disabled.
 * Undefined for any other text.
 */
async function spent(
  { passwordResets }: CompletePasswordResetDeps,
  digests: readonly Uint8Array[],
): Promise<UntoldFacts | undefined> {
  const userId = await passwordResets.ownerOf(digests);
  return userId === undefined ? undefined : { spent: { kind: "reset_token", userId } };
}
