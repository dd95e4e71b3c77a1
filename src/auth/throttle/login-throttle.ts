import type { Actor } from "../../audit/actor.ts";
import { type Clock, MINUTE_MS } from "../../lib/clock.ts";
import { reasonOf } from "../../lib/errors.ts";
import { KnownWaits } from "./known-waits.ts";
import { type AttemptDeps, type AttemptInput, digestsOf, LoginAttempt } from "./login-attempt.ts";
import { LoginTraces, type LoginTracesDeps } from "./login-traces.ts";

export interface LoginThrottleDeps extends Omit<AttemptDeps, "known" | "traces">, LoginTracesDeps {
  readonly clock: Clock;
}

const PRUNE_EVERY_MS = 10 * MINUTE_MS;

/**
 * Bounds guessing, by `LOGIN_LIMITS`: per account and network, per account, and per address; and what an address may cost in
 * hashes, however good its passwords are. All of it is kept in the
 * database, so neither a restart nor another process forgets, and under digests, so a dump does not say whose account
 * was tried.
 */
export class LoginThrottle {
  readonly #deps: LoginThrottleDeps & AttemptDeps;
  #prunedAtMs: number;

  constructor(deps: LoginThrottleDeps) {
    this.#deps = { ...deps, known: new KnownWaits(deps.clock), traces: new LoginTraces(deps) };
    this.#prunedAtMs = deps.clock.monotonicMs();
  }

  /**
   * Judges by memory alone, so that a caller that is known to have to wait costs nothing.
   * @throws TOO_MANY_ATTEMPTS
   */
  begin(input: AttemptInput): LoginAttempt {
    this.#pruneNowAndThen();
    return new LoginAttempt(this.#deps, input);
  }

  /** Forgets an account's failures. */
  async clear(input: { readonly emailNormalized: string; readonly userId: string; readonly by: Actor }): Promise<void> {
    const { emailNormalized, userId, by } = input;
    await this.#deps.store.clear({ accounts: digestsOf(this.#deps.ring, emailNormalized), userId, by });
    this.#deps.known.clear();
  }

  /** Beside a call rather than by a timer: where nobody logs in there is nothing to remove. */
  #pruneNowAndThen(): void {
    const { clock, store, log } = this.#deps;
    if (clock.monotonicMs() - this.#prunedAtMs < PRUNE_EVERY_MS) return;
    this.#prunedAtMs = clock.monotonicMs();
    store.prune().catch((error: unknown) => {
      log.warn("old login failures were not removed; later logins try again", { reason: reasonOf(error) });
    });
  }
}
