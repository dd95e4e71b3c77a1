import { LOGIN_LIMITS } from "./throttle/login-limits.ts";

/*
 * Whether a password reset revokes the API keys of the account. If an account is handed over to another person, the
 * keys of its former holder must stop working. If a person only forgot their password, their programs must keep their
 * keys.
 */

/**
 * The source of a decision: the operator who made the token, the person who used it, or the rule about an account's
 * history.
 */
export type RevocationDecider = "operator" | "person" | "rule";

export interface RevocationDecision {
  readonly revokes: boolean;
  readonly decider: RevocationDecider;
}

/** The facts about an account by which the rule decides. */
export interface AccountHistory {
  /** Whether it ever had a password. Before that it had no holder. */
  readonly hadPassword: boolean;
  /**
   * Whether a login from a known network succeeded before the token was made. A network is known if a session of the
   * account began there within `KNOWN_NETWORK_MS` before that login.
   */
  readonly hasKnownLogin: boolean;
}

/** The time for which the login throttle knows a network after a login. */
export const KNOWN_NETWORK_MS = LOGIN_LIMITS.knownNetworkMs;

/**
 * Decides whether a reset revokes the keys, by the decisions of operator and person and by the account's history. Pure.
 *
 * - An operator's decision to revoke stands.
 * - A person may revoke even if the operator decided to keep, because the keys are their own.
 * - A person may keep keys only if the operator decided nothing.
 * - If neither decided, the keys are revoked if the account had a password but never a login from a known network.
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
