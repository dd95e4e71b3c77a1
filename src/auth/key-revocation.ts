import { LOGIN_LIMITS } from "./throttle/login-limits.ts";

/*
 * Whether a password reset revokes the API keys of the account. A person who is given an account must not find a
 * stranger's keys in it that still work; a person who forgot their password must not lose those of their programs.
 */

/** Who decided: the operator who made the token, the person who used it, or the rule for accounts. */
export type RevocationDecider = "operator" | "person" | "rule";

export interface RevocationDecision {
  readonly revokes: boolean;
  readonly decider: RevocationDecider;
}

/** What the rule asks of an account. */
export interface AccountHistory {
  /** Whether it ever had a password: before that no one held the account. */
  readonly hadPassword: boolean;
  /**
   * Whether someone logged in to it, before the token was made, from a network that it was known from: one from which a
   * session of it had begun within `KNOWN_NETWORK_MS`.
   */
  readonly hasKnownLogin: boolean;
}

/** The time for which the login throttle knows a network after a login. */
export const KNOWN_NETWORK_MS = LOGIN_LIMITS.knownNetworkMs;

/**
 * An operator's wish to revoke holds. A person may revoke what an operator wanted to keep, since the keys are their own.
 * A person may keep keys only where no operator decided. Pure.
 */
export function decideRevocation(
  operator: boolean | undefined,
  person: boolean | undefined,
  account: AccountHistory,
): RevocationDecision {
  if (operator === true) return { revokes: true, decider: "operator" };
  if (person === true) return { revokes: true, decider: "person" };
  if (operator === false) return { revokes: false, decider: "operator" };
  if (person === false) return { revokes: false, decider: "person" };
  return { revokes: account.hadPassword && !account.hasKnownLogin, decider: "rule" };
}
