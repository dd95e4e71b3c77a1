/**
 * PEOPLE. Accounts, passwords, sessions, and the tokens that a person holds. A caller of this room hands in what a
 * person typed or sent; it answers with records and tokens, or throws a DomainError.
 *
 *   register login refresh logout                      from a person's words to tokens and back
 *   change-password complete-password-reset            a new password ends all sessions
 *   get-current-user update-current-user               what a person may do with his own account
 *   list-sessions revoke-session                       ... and with his logins
 *   create-user get-user list-users update-user        what operators do with accounts
 *   disable-user enable-user end-user-sessions create-password-reset
 *   list-signing-keys rotate-signing-key revoke-signing-key    ... and with the keys that sign access tokens
 *   authenticate-user                                  from an access token to a user, at each call
 *
 *   key-revocation.ts                                  whether a reset revokes the keys of the account; pure
 *   user.ts session.ts signing-key.ts                  the records
 *   login-throttle.ts login-attempt.ts                 how much guessing is allowed, judged by memory and by the database
 *   login-limits.ts login-network.ts known-waits.ts    ... the limits are pure arithmetic; whom they are for; the memory
 *   own-session.ts                                     whether a refresh token shows the owner of an account
 *   find-account.ts                                    by which form of an address an account is found
 *   email.ts password-rules.ts password-blocklist.ts   what may be registered; no I/O
 *   password.ts hash-turns.ts                          the slow hash, and how many run at once, fair by network
 *   access-token.ts refresh-token.ts reset-token.ts    the three tokens: how they are made and read
 *   token-pair.ts signing-keys.ts session-cache.ts     what signs, and who is logged in, kept near
 *   *-store.ts                                         what the room needs of a database
 *
 * The room knows nothing of gRPC or of SQL, and of API keys only that a reset may revoke them. Times are milliseconds of the database's clock.
 */

export type UserState = "active" | "disabled";

/** A person who can log in and own API keys. */
export interface User {
  /** `usr_` and 16 characters. */
  readonly id: string;
  /** As it was given; what makes two addresses one account is `EmailAddress.normalized`. */
  readonly email: string;
  readonly displayName: string;
  /** The highest tier at which this user's keys are judged. */
  readonly tier: string;
  /** Globs that bound the scopes of this user's keys. */
  readonly scopes: readonly string[];
  readonly state: UserState;
  readonly createdAtMs: number;
}

/** A user with what a login is judged by. Never leaves the room. */
export interface UserSecrets {
  readonly user: User;
  /** As in `EmailAddress.normalized`. */
  readonly emailNormalized: string;
  /** As `PasswordHasher.hash` made it; undefined until the person sets a password. */
  readonly passwordHash: string | undefined;
  /** Grows with each change of the password. */
  readonly passwordVersion: number;
}

export const DISPLAY_NAME_RULE = Object.freeze({ min: 0, max: 64 });
