/**
 * PEOPLE. Accounts, sessions, and the tokens that a person holds. The front door passes in what a person typed or sent.
 * A verb answers with records and tokens, or throws a DomainError.
 *
 * Records and stores:
 *
 *   user.ts                     an account
 *   session.ts                  one login of one person
 *   user-store.ts               what the room needs from the database for accounts
 *   session-store.ts            ... for sessions
 *   password-reset-store.ts     ... for one-time tokens that set a password
 *
 * One verb each, for people themselves:
 *
 *   register.ts, login.ts, refresh.ts, logout.ts
 *   change-password.ts, complete-password-reset.ts
 *   get-current-user.ts, update-current-user.ts
 *   list-sessions.ts, revoke-session.ts
 *
 * One verb each, for operators:
 *
 *   create-user.ts, get-user.ts, list-users.ts, update-user.ts, disable-user.ts, enable-user.ts
 *   end-user-sessions.ts, create-password-reset.ts, clear-login-failures.ts
 *
 * At each call with an access token:
 *
 *   authenticate-user.ts        from an access token to a user
 *   session-cache.ts            sessions in memory, at most 5 s old
 *
 * Rules that verbs share:
 *
 *   email.ts                    which texts are e-mail addresses, and which of them are one account; no I/O
 *   find-account.ts             finds an account by an e-mail address
 *   own-session.ts              whether a refresh token shows that a caller is the owner of an account
 *   user-grants.ts              which tier and scopes an operator may grant to a user
 *   key-revocation.ts           whether a password reset revokes the API keys of the account; pure
 *
 * Folders, each with a map of its own: passwords/ (password.ts), tokens/ (token-pair.ts), throttle/ (login-throttle.ts)
 * and signing/ (signing-key.ts).
 *
 * The room knows nothing of gRPC or SQL. It knows about API keys only that a password reset may revoke them. Times are
 * milliseconds of the database's clock.
 */

export type UserState = "active" | "disabled";

/** A person who can log in and own API keys. */
export interface User {
  /** `usr_` and 16 characters. */
  readonly id: string;
  /** As it was given. Two addresses are one account if their `EmailAddress.normalized` is equal. */
  readonly email: string;
  readonly displayName: string;
  /** The highest tier at which this user's keys are judged. */
  readonly tier: string;
  /** Globs that bound the scopes of this user's keys. */
  readonly scopes: readonly string[];
  readonly state: UserState;
  readonly createdAtMs: number;
}

/** A user with the secrets that decide a login. Never leaves the room. */
export interface UserSecrets {
  readonly user: User;
  /** See `EmailAddress.normalized`. */
  readonly emailNormalized: string;
  /** The result of `PasswordHasher.hash`; undefined until the person sets a password. */
  readonly passwordHash: string | undefined;
  /** Increases with each change of the password. */
  readonly passwordVersion: number;
}

export const DISPLAY_NAME_RULE = Object.freeze({ min: 0, max: 64 });
