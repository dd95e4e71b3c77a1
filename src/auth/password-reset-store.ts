import type { Actor } from "../audit/actor.ts";
import type { GrantedSession, NewSession } from "./session.ts";
import type { NewResetToken } from "./tokens/reset-token.ts";
import type { User } from "./user.ts";

/** What became of a wish for a new token. */
export type CreatedReset =
  | { readonly kind: "created"; readonly expiresAtMs: number; readonly revokesKeys: boolean }
  | { readonly kind: "no_such_user" }
  | { readonly kind: "user_disabled" };

/** What a used token did. */
export interface CompletedReset {
  readonly session: GrantedSession;
  /** How many of the user's API keys it revoked. */
  readonly revokedKeys: number;
}

/**
 * Where one-time tokens are kept with which a person sets a password: by digest, never the token. A token belongs to the
 * state of the account that it was made for. Each change of the password or the state, and the end of all sessions, use
 * it up in the same transaction, whichever store makes the change.
 */
export interface PasswordResetStore {
  /**
   * Keeps a token of an active user; this step removes all earlier ones of that user. What `decideRevocation` says of the
   * user's keys if the person decides nothing is part of the answer.
   */
  create(input: {
    readonly userId: string;
    readonly reset: NewResetToken;
    /** What the operator decided about the user's API keys. */
    readonly revokeKeys?: boolean | undefined;
    /** Ends all sessions and the password, so that nothing but this token opens the account. */
    readonly endAccess?: boolean;
    readonly by: Actor;
  }): Promise<CreatedReset>;

  /** The active user for whom one of these digests is a token that is neither used nor expired. */
  find(digests: readonly Uint8Array[]): Promise<User | undefined>;

  /**
   * Whose token this is or was: also one that is used or has expired, and not one that a newer one replaced. Undefined:
   * it is not known. For the audit trail alone.
   */
  ownerOf(digests: readonly Uint8Array[]): Promise<string | undefined>;

  /**
   * Uses the token up and sets the password, if the token is neither used nor expired and its user active; then all
   * sessions and all other tokens of the user end, and the new session begins. Of any number of concurrent calls with
   * one token one succeeds. All API keys of the user are revoked too, if `decideRevocation` says so of the account as it
   * was when the token was made; no key is issued meanwhile, nor by a session that has ended.
   *
   * @returns undefined when token or user are not as required
   */
  complete(input: {
    readonly digests: readonly Uint8Array[];
    readonly passwordHash: string;
    readonly session: NewSession;
    readonly clientIp: string;
    /** What the person decided about the API keys. */
    readonly revokeKeys?: boolean | undefined;
  }): Promise<CompletedReset | undefined>;
}
