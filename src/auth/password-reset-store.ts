import type { Actor } from "../audit/actor.ts";
import type { GrantedSession, NewSession } from "./session.ts";
import type { NewResetToken } from "./tokens/reset-token.ts";
import type { User } from "./user.ts";

/** The outcome of making a token. */
export type CreatedReset =
  | { readonly kind: "created"; readonly expiresAtMs: number; readonly revokesKeys: boolean }
  | { readonly kind: "no_such_user" }
  | { readonly kind: "user_disabled" };

/** The outcome of using a token. */
export interface CompletedReset {
  readonly session: GrantedSession;
  /** Number of the user's API keys that the reset revoked. */
  readonly revokedKeys: number;
}

/**
 * Stores one-time tokens with which a person sets a password: their digests, never the tokens. A token is valid only
 * while the account stays as it was when the token was made. Three events use it up, in the same transaction and in
 * whichever store they happen: a new password, a change of the account's state, and the end of all sessions.
 */
export interface PasswordResetStore {
  /**
   * Stores a token of an active user, and removes all earlier tokens of that user in the same step. The outcome tells
   * what `decideRevocation` says about the user's keys if the person decides nothing.
   */
  create(input: {
    readonly userId: string;
    readonly reset: NewResetToken;
    /** The operator's decision about the user's API keys. */
    readonly revokeKeys?: boolean | undefined;
    /** Whether all sessions and the password end, so that only this token opens the account. */
    readonly endAccess?: boolean;
    readonly by: Actor;
  }): Promise<CreatedReset>;

  /** The active user whose token has one of these digests, if the token is neither used nor expired. */
  find(digests: readonly Uint8Array[]): Promise<User | undefined>;

  /**
   * The id of the user for whom a token with one of these digests was made, even if it is used or has expired.
   * Undefined if it is unknown or a newer token replaced it. Only for the audit trail.
   */
  ownerOf(digests: readonly Uint8Array[]): Promise<string | undefined>;

  /**
   * Uses the token up and sets the password, if the token is valid and its user active. Then all sessions and all other
   * tokens of the user end, and the new session begins. If several calls present one token at the same time, exactly
   * one of them succeeds.
   *
   * All API keys of the user are revoked too, if `decideRevocation` says so about the account as it was when the token
   * was made. No key is issued while this runs, and no session that it ended can issue one afterwards.
   *
   * @returns undefined if the token is not valid or its user not active
   */
  complete(input: {
    readonly digests: readonly Uint8Array[];
    readonly passwordHash: string;
    readonly session: NewSession;
    readonly clientIp: string;
    /** The person's decision about the API keys. */
    readonly revokeKeys?: boolean | undefined;
  }): Promise<CompletedReset | undefined>;
}
