/**
 * THROTTLE. Limits how often a caller may guess passwords, and how many hashes an address may cost. Each attempt passes
 * memory first, then the database, then a hash.
 *
 *   login-throttle.ts       the entrance: begins attempts, forgets an account's failures
 *   login-attempt.ts        one attempt: checked, counted, and then succeeded or failed
 *   login-limits.ts         the limits and their arithmetic, no I/O
 *   login-network.ts        the address and the networks for which an attempt is counted
 *   known-waits.ts          waits that the database told of lately, in memory
 *   login-failure-store.ts  what the folder needs from the database
 *   login-traces.ts         records failed and throttled attempts on the audit trail
 *
 * The folder never sees a password, and stores and logs no e-mail address, only digests.
 */
import type { Actor } from "../../audit/actor.ts";
import type { Clock } from "../../lib/clock.ts";
import { KnownWaits } from "./known-waits.ts";
import { type AttemptDeps, type AttemptInput, digestsOf, LoginAttempt } from "./login-attempt.ts";
import { LoginTraces, type LoginTracesDeps } from "./login-traces.ts";

export interface LoginThrottleDeps extends Omit<AttemptDeps, "known" | "traces">, LoginTracesDeps {
  readonly clock: Clock;
}

/**
 * Limits guesses by `LOGIN_LIMITS`: for each account and network, for each account, and for each address. It also
 * limits the hashes that an address may cost, even with correct passwords.
 *
 * All counts are in the database, so they survive a restart and hold for all processes. Accounts are stored as digests,
 * so a dump does not tell whose account was tried.
 */
export class LoginThrottle {
  readonly #deps: LoginThrottleDeps & AttemptDeps;

  constructor(deps: LoginThrottleDeps) {
    this.#deps = { ...deps, known: new KnownWaits(deps.clock), traces: new LoginTraces(deps) };
  }

  /**
   * Begins an attempt. Judges by memory alone, so that a caller who must wait costs no read.
   *
   * @throws TOO_MANY_ATTEMPTS
   */
  begin(input: AttemptInput): LoginAttempt {
    return new LoginAttempt(this.#deps, input);
  }

  /** Forgets an account's failures. */
  async clear(input: { readonly emailNormalized: string; readonly userId: string; readonly by: Actor }): Promise<void> {
    const { emailNormalized, userId, by } = input;
    await this.#deps.store.clear({ accounts: digestsOf(this.#deps.ring, emailNormalized), userId, by });
    this.#deps.known.clear();
  }
}
