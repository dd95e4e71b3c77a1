import type { NewResetToken } from "./reset-token.ts";
import type { GrantedSession, NewSession } from "./session.ts";
import type { ChangedBy, User } from "./user.ts";

/** What became of a wish for a new token. */
export type CreatedReset =
  | { readonly kind: "created"; readonly expiresAtMs: number }
  | { readonly kind: "no_such_user" }
  | { readonly kind: "user_disabled" };

/** Where one-time tokens are kept with which a person sets a password: by digest, never the token. */
export interface PasswordResetStore {
  /** Keeps a token of an active user; all earlier ones of that user are gone by this step. */
  create(input: {
    readonly userId: string;
    readonly reset: NewResetToken;
    readonly by: ChangedBy;
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
   * one token one succeeds.
   *
   * @returns undefined when token or user are not as required
   */
  complete(input: {
    readonly digests: readonly Uint8Array[];
    readonly passwordHash: string;
    readonly session: NewSession;
    readonly clientIp: string;
  }): Promise<GrantedSession | undefined>;
}
