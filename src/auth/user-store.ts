import type { Actor } from "../audit/actor.ts";
import type { PagePosition } from "../lib/page.ts";
import type { GrantedSession, NewSession } from "./session.ts";
import type { NewResetToken } from "./tokens/reset-token.ts";
import type { User, UserSecrets } from "./user.ts";

export interface NewUser {
  readonly id: string;
  readonly email: string;
  /** Two addresses with the same form are one account. Unique. */
  readonly emailNormalized: string;
  readonly displayName: string;
  readonly tier: string;
  readonly scopes: readonly string[];
}

/** New values of an account's fields. Absent fields stay as they are. */
export interface UserPatch {
  readonly displayName?: string;
  readonly tier?: string;
  readonly scopes?: readonly string[];
}

/**
 * Stores accounts. Records are frozen. In the same transaction, a change of state, tier or scopes announces an OWNER
 * change, and a method that ends a session announces a SESSION change. A change of state or password uses up the user's
 * reset tokens (password-reset-store.ts).
 */
export interface UserStore {
  /** Adds an active user with a password (version 1) and a first session. Undefined if the address is taken. */
  register(input: {
    readonly user: NewUser;
    readonly passwordHash: string;
    readonly session: NewSession;
  }): Promise<{ readonly user: User; readonly session: GrantedSession } | undefined>;

  /** Adds an active user without a password, and a token that sets one. Undefined if the address is taken. */
  create(input: {
    readonly user: NewUser;
    readonly reset: NewResetToken;
    readonly by: Actor;
  }): Promise<{ readonly user: User; readonly resetExpiresAtMs: number } | undefined>;

  find(id: string): Promise<User | undefined>;

  secretsById(id: string): Promise<UserSecrets | undefined>;

  secretsByEmail(emailNormalized: string): Promise<UserSecrets | undefined>;

  /** Lists at most `limit` users after `after`, newest first by (time of creation, id). */
  list(input: {
    /** Only users whose normalized address is one of these; undefined for all users. */
    readonly emailForms: readonly string[] | undefined;
    readonly after: PagePosition | undefined;
    readonly limit: number;
  }): Promise<readonly User[]>;

  /** Changes fields of a user. Undefined if there is no such user. */
  update(input: { readonly id: string; readonly patch: UserPatch; readonly by: Actor }): Promise<User | undefined>;

  /**
   * Sets the state to disabled, then ends all sessions. Because of this order, a login at the same time either waits
   * and is refused, or its session ends too. Idempotent. Undefined if there is no such user.
   */
  disable(input: { readonly id: string; readonly by: Actor }): Promise<User | undefined>;

  /** Sets the state to active. Ended sessions stay ended. Idempotent. Undefined if there is no such user. */
  enable(input: { readonly id: string; readonly by: Actor }): Promise<User | undefined>;

  /**
   * Replaces the password of an active user whose password version is still `expectedVersion`, then ends all sessions
   * and begins the new one.
   *
   * @returns undefined if the user is not active or has another password version
   */
  changePassword(input: {
    readonly id: string;
    readonly expectedVersion: number;
    readonly passwordHash: string;
    readonly session: NewSession;
    readonly by: Actor;
  }): Promise<GrantedSession | undefined>;

  /** Replaces the stored form of the same password, if its version is still `passwordVersion`. Ends no session. */
  rehash(input: {
    readonly id: string;
    readonly passwordVersion: number;
    readonly passwordHash: string;
  }): Promise<void>;
}
