import type { RefusalRecorder } from "../audit/refusal-recorder.ts";
import { DomainError, invalidFields, reasonOf, type UntoldFacts } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { textViolation } from "../lib/text.ts";
import { type EmailAddress, parseEmail } from "./email.ts";
import { type FoundAccount, findAccount } from "./find-account.ts";
import { ownSession } from "./own-session.ts";
import type { CallTurns } from "./passwords/hash-turns.ts";
import type { PasswordHasher } from "./passwords/password.ts";
import { passwordFormViolation } from "./passwords/password-rules.ts";
import { type LoginOrigin, newSession, type SessionLifetimes } from "./session.ts";
import type { SessionStore } from "./session-store.ts";
import type { LoginAttempt } from "./throttle/login-attempt.ts";
import type { LoginThrottle } from "./throttle/login-throttle.ts";
import { parseRefreshToken } from "./tokens/refresh-token.ts";
import { type TokenPair, type TokenPairDeps, tokenPairOf } from "./tokens/token-pair.ts";
import type { User, UserSecrets } from "./user.ts";
import type { UserStore } from "./user-store.ts";

export interface LoginDeps extends TokenPairDeps {
  readonly users: Pick<UserStore, "secretsByEmail" | "rehash">;
  readonly sessions: Pick<SessionStore, "begin" | "shown">;
  readonly passwords: PasswordHasher;
  readonly lifetimes: SessionLifetimes;
  readonly log: Log;
  readonly loginThrottle: LoginThrottle;
  readonly refusals: Pick<RefusalRecorder, "note">;
}

export interface LoginInput extends LoginOrigin {
  readonly email: string;
  readonly password: string;
  /**
   * A refresh token of an earlier session of the account. It shows that the caller is the owner; see own-session.ts.
   */
  readonly refreshToken?: string;
  readonly signal?: AbortSignal;
}

/**
 * Checks a password and begins a session. An unknown address, a wrong password and a disabled account cost one hash
 * each and get the same answer.
 *
 * @throws LOGIN_FAILED, INVALID_FIELD for a text that can't be an address or a password, TOO_MANY_ATTEMPTS, OVERLOADED
 */
export async function login(
  deps: LoginDeps,
  input: LoginInput,
): Promise<{ readonly user: User; readonly tokens: TokenPair }> {
  checkForm(input);
  const { clientIp, password } = input;
  const email = parseEmail(input.email);
  const shown = parseRefreshToken(deps.keyPrefix, input.refreshToken ?? "");
  const name = email?.typed ?? input.email;
  const attempt = deps.loginThrottle.begin({ clientIp, name, isGuess: true, mayProve: shown !== undefined });
  using turns = deps.passwords.turnsOf(attempt, input.signal);
  const found = await turns.judge(async () => {
    const { emailNormalized, secrets } = await accountOf(deps, name, email);
    await attempt.check(emailNormalized, { session: () => ownSession(deps, shown, secrets) });
    return secrets;
  });
  // Counted before it is judged, so that parallel attempts can't outrun the limits.
  const matched = await turns.hash(async () => {
    await attempt.count();
    return deps.passwords.matches(found?.passwordHash, password);
  });
  if (found === undefined || !matched) throw loginFailed(attempt.failed(found?.user.id, "login"));
  if (found.user.state !== "active") {
    noteDisabled(deps, found.user.id, input.clientIp);
    throw loginFailed();
  }
  // The person proved who they are, so this attempt is no failure, even if a later step fails or the client gave up.
  await attempt.succeed();
  const session = await deps.sessions.begin({
    userId: found.user.id,
    passwordVersion: found.passwordVersion,
    session: newSession(deps.ring, deps.lifetimes, input),
  });
  // The account was disabled, or got another password, after it was read.
  if (session === undefined) throw loginFailed();
  const tokens = await tokenPairOf(deps, session);
  await rehash(deps, turns, attempt, found, password);
  return { user: found.user, tokens };
}

/**
 * Finds the account of the given address. A text that is not an address has no account: its failures are counted under
 * the text as it came.
 */
async function accountOf(deps: LoginDeps, name: string, email: EmailAddress | undefined): Promise<FoundAccount> {
  return email === undefined ? { emailNormalized: name, secrets: undefined } : findAccount(deps.users, email);
}

function checkForm(input: LoginInput): void {
  const violations = [
    textViolation("email", input.email, { min: 0, max: 254 }),
    passwordFormViolation("password", input.password),
  ].filter((violation) => violation !== undefined);
  if (violations.length > 0) throw invalidFields(violations);
}

/** Records that a caller knows the password of a disabled account. */
function noteDisabled({ refusals }: LoginDeps, userId: string, clientIp: string): void {
  const facts = { reason: "user_disabled" };
  refusals.note({ kind: "login.refused", room: "known", about: userId, subjectId: userId, clientIp, facts });
}

function loginFailed(untold?: UntoldFacts): DomainError {
  return new DomainError("LOGIN_FAILED", "e-mail address or password is wrong", untold && { untold });
}

/**
 * Hashes the password again if the cost of hashes or the master key changed. The login succeeds even if this fails.
 */
async function rehash(
  deps: LoginDeps,
  turns: CallTurns,
  attempt: LoginAttempt,
  found: UserSecrets,
  password: string,
): Promise<void> {
  if (found.passwordHash === undefined || !deps.passwords.needsRehash(found.passwordHash)) return;
  try {
    const passwordHash = await turns.hash(async () => {
      await attempt.countHash();
      return deps.passwords.hash(password);
    });
    await deps.users.rehash({ id: found.user.id, passwordVersion: found.passwordVersion, passwordHash });
  } catch (error) {
    deps.log.warn("a password was not hashed again; the next login tries again", {
      user_id: found.user.id,
      reason: reasonOf(error),
    });
  }
}
