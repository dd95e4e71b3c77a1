import { DomainError, invalidFields, type Violation } from "../lib/errors.ts";
import { newId } from "../lib/id.ts";
import { textViolation } from "../lib/text.ts";
import { EMAIL_RULE, parseNewEmail } from "./email.ts";
import type { PasswordHasher } from "./passwords/password.ts";
import { type PasswordRules, passwordViolation } from "./passwords/password-rules.ts";
import { type LoginOrigin, newSession, type SessionLifetimes } from "./session.ts";
import type { LoginThrottle } from "./throttle/login-throttle.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./tokens/token-pair.ts";
import { DISPLAY_NAME_RULE, type User } from "./user.ts";
import type { UserStore } from "./user-store.ts";

/** The grants of a new account. */
export interface AccountDefaults {
  /** The lowest tier. */
  readonly tier: string;
  /** Globs that bound the scopes of the user's keys. */
  readonly scopes: readonly string[];
}

export interface RegisterDeps extends TokenPairDeps {
  readonly users: Pick<UserStore, "register">;
  readonly passwords: PasswordHasher;
  readonly passwordRules: PasswordRules;
  readonly accountDefaults: AccountDefaults;
  readonly registrationOpen: boolean;
  readonly lifetimes: SessionLifetimes;
  readonly loginThrottle: LoginThrottle;
}

export interface RegisterInput extends LoginOrigin {
  readonly email: string;
  readonly password: string;
  readonly displayName: string;
  readonly signal?: AbortSignal;
}

/**
 * Creates an account and logs it in, in one transaction.
 * @throws REGISTRATION_CLOSED, INVALID_FIELD with all faults, EMAIL_TAKEN, TOO_MANY_ATTEMPTS, OVERLOADED
 */
export async function register(
  deps: RegisterDeps,
  input: RegisterInput,
): Promise<{ readonly user: User; readonly tokens: TokenPair }> {
  if (!deps.registrationOpen) {
    throw new DomainError("REGISTRATION_CLOSED", "registration is closed; ask an operator for an account");
  }
  const email = check(deps, input);
  const attempt = deps.loginThrottle.begin({ clientIp: input.clientIp, isGuess: false });
  using turns = deps.passwords.turnsOf(attempt, input.signal);
  await turns.judge(() => attempt.check(email.normalized));
  const passwordHash = await turns.hash(async () => {
    await attempt.count();
    return deps.passwords.hash(input.password);
  });
  const added = await deps.users.register({
    user: {
      id: newId("usr"),
      email: email.address,
      emailNormalized: email.normalized,
      displayName: input.displayName,
      ...deps.accountDefaults,
    },
    passwordHash,
    session: newSession(deps.ring, deps.lifetimes, input),
  });
  if (added === undefined) throw emailTaken();
  await attempt.succeed();
  return { user: added.user, tokens: await tokenPairOf(deps, added.session) };
}

export function emailTaken(): DomainError {
  return new DomainError("EMAIL_TAKEN", "the e-mail address is taken");
}

function check(deps: RegisterDeps, input: RegisterInput) {
  const violations: Violation[] = [];
  const email = parseNewEmail(input.email);
  if (email === undefined) {
    violations.push({ field: "email", description: EMAIL_RULE });
  }
  const weak = passwordViolation(deps.passwordRules, {
    field: "password",
    password: input.password,
    email: email?.address ?? input.email,
  });
  if (weak !== undefined) violations.push(weak);
  const misnamed = textViolation("display_name", input.displayName, DISPLAY_NAME_RULE);
  if (misnamed !== undefined) violations.push(misnamed);
  if (email === undefined || violations.length > 0) throw invalidFields(violations);
  return email;
}
