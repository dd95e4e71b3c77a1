import type { Actor } from "../audit/actor.ts";
import type { PagePosition } from "../lib/page.ts";
import type { GrantedSession, NewSession } from "./session.ts";
import type { NewResetToken } from "./tokens/reset-token.ts";
import type { User, UserSecrets } from "./user.ts";

export interface NewUser {
  readonly id: string;
  readonly email: string;
  /** What makes two addresses one account. Unique. */
  readonly emailNormalized: string;
  readonly displayName: string;
  readonly tier: string;
  readonly scopes: readonly string[];
}

/** New values; what is absent stays. */
export interface UserPatch {
  readonly displayName?: string;
  readonly tier?: string;
  readonly scopes?: readonly string[];
}

/**
 * Where accounts are kept. Records are frozen. A change of state, tier or scopes also announces an OWNER change, and
 * whatever ends a session a SESSION change, in the same transaction. A change of state or password uses up the user's
 * reset tokens (password-reset-store.ts).
 */
export interface UserStore {
  /** Adds an active user with a password (version 1) and a first session. Undefined: the address is taken. */
  register(input: {
    readonly user: NewUser;
    readonly passwordHash: string;
    readonly session: NewSession;
  }): Promise<{ readonly user: User; readonly session: GrantedSession } | undefined>;

  /** Adds an active user without a password, and a token to set one. Undefined: the address is taken. */
  create(input: {
    readonly user: NewUser;
    readonly reset: NewResetToken;
    readonly by: Actor;
  }): Promise<{ readonly user: User; readonly resetExpiresAtMs: number } | undefined>;

  find(id: string): Promise<User | undefined>;

  secretsById(id: string): Promise<UserSecrets | undefined>;

  secretsByEmail(emailNormalized: string): Promise<UserSecrets | undefined>;

  /** Newest first by (creation, id), at most `limit` of those after `after`. */
  list(input: {
    /** Only users whose normalised address is one of these; undefined: all. */
    readonly emailForms: readonly string[] | undefined;
    readonly after: PagePosition | undefined;
    readonly limit: number;
  }): Promise<readonly User[]>;

  /** Undefined: no such user. */
  update(input: { readonly id: string; readonly patch: UserPatch; readonly by: Actor }): Promise<User | undefined>;

  /**
   * Sets the state to disabled, then ends all sessions; in this order, so that a login that runs at the same time
   * either waits and is refused, or is among the sessions that end. Idempotent. Undefined: no such user.
   */
  disable(input: { readonly id: string; readonly by: Actor }): Promise<User | undefined>;

  /** Sets the state to active; ended sessions stay ended. Idempotent. Undefined: no such user. */
  enable(input: { readonly id: string; readonly by: Actor }): Promise<User | undefined>;

  /**
   * Replaces the password of an active user whose password version still is `expectedVersion`, then ends all sessions
   * and begins the new one.
   * @returns undefined when the user is not as required
   */
  changePassword(input: {
    readonly id: string;
    readonly expectedVersion: number;
    readonly passwordHash: string;
    readonly session: NewSession;
    readonly by: Actor;
  }): Promise<GrantedSession | undefined>;

  /** Replaces the stored form of the same password, if its version still is `passwordVersion`. Ends nothing. */
  rehash(input: {
    readonly id: string;
    readonly passwordVersion: number;
    readonly passwordHash: string;
  }): Promise<void>;
}
