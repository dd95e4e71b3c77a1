import type { LoginOrigin } from "./session.ts";

/** One attempt to show a password. */
export interface LoginAttempt extends LoginOrigin {
  /** Normalised address, whether or not there is such an account. */
  readonly emailNormalized: string;
}

/** Bounds guessing. Without one, nothing but the cost of a hash does. */
export interface LoginThrottle {
  /**
   * Counts the attempt as failed, durably and before any hash is computed, so that parallel attempts can't outrun it.
   * @throws TOO_MANY_ATTEMPTS, the same for accounts that don't exist
   */
  admit(attempt: LoginAttempt): Promise<void>;
  /** Takes the failure back. */
  succeeded(attempt: LoginAttempt): Promise<void>;
}
