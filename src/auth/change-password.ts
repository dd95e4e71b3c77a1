import { DomainError, invalidFields, type UntoldFacts } from "../lib/errors.ts";
import { userNotFound } from "./get-user.ts";
import type { PasswordHasher } from "./passwords/password.ts";
import { type PasswordRules, passwordFormViolation, passwordViolation } from "./passwords/password-rules.ts";
import { type LoginOrigin, newSession, type SessionLifetimes } from "./session.ts";
import type { LoginThrottle } from "./throttle/login-throttle.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./tokens/token-pair.ts";
import type { User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface ChangePasswordDeps extends TokenPairDeps {
  readonly users: Pick<UserStore, "secretsById" | "changePassword">;
  readonly passwords: PasswordHasher;
  readonly passwordRules: PasswordRules;
  readonly lifetimes: SessionLifetimes;
  readonly loginThrottle: LoginThrottle;
}

export interface ChangePasswordInput extends LoginOrigin {
  readonly userId: string;
  readonly currentPassword: string;
  readonly newPassword: string;
  readonly signal?: AbortSignal;
}

/**
 * Replaces the password, ends all sessions and reset tokens, and begins a new session. An access token alone is not
 * enough: the person must give the current password, under the same throttle as a login.
 *
 * @throws PASSWORD_WRONG, INVALID_FIELD, TOO_MANY_ATTEMPTS, OVERLOADED
 */
export async function changePassword(deps: ChangePasswordDeps, input: ChangePasswordInput): Promise<TokenPair> {
  const { userId, currentPassword, newPassword, clientIp } = input;
  const attempt = deps.loginThrottle.begin({ clientIp, name: userId, isGuess: true });
  using turns = deps.passwords.turnsOf(attempt, input.signal);
  const found = await turns.judge(async () => {
    const secrets = await deps.users.secretsById(userId);
    if (secrets === undefined) throw userNotFound();
    check(deps, input, secrets.user);
    await attempt.check(secrets.emailNormalized, { isOwner: true });
    return secrets;
  });
  const matched = await turns.hash(async () => {
    await attempt.count();
    return deps.passwords.matches(found.passwordHash, currentPassword);
  });
  if (!matched) throw passwordWrong(attempt.failed(found.user.id, "change_password"));
  // The person proved who they are, so this attempt is no failure, even if a later step fails.
  await attempt.succeed();
  const passwordHash = await turns.hash(async () => {
    await attempt.countHash();
    return deps.passwords.hash(newPassword);
  });
  const session = await deps.users.changePassword({
    id: userId,
    expectedVersion: found.passwordVersion,
    passwordHash,
    session: newSession(deps.ring, deps.lifetimes, input),
    by: { id: userId, clientIp },
  });
  // Another change came first, so the password that they gave is no longer the current one.
  if (session === undefined) throw passwordWrong();
  return tokenPairOf(deps, session);
}

function check(deps: ChangePasswordDeps, input: ChangePasswordInput, user: User): void {
  const violations = [
    passwordFormViolation("current_password", input.currentPassword),
    passwordViolation(deps.passwordRules, { field: "new_password", password: input.newPassword, email: user.email }),
  ].filter((violation) => violation !== undefined);
  if (violations.length > 0) throw invalidFields(violations);
}

function passwordWrong(untold?: UntoldFacts): DomainError {
  return new DomainError("PASSWORD_WRONG", "the current password is wrong", untold && { untold });
}
