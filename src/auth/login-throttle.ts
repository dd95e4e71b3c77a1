import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import { DomainError, reasonOf, type UntoldFacts } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { CountedFailure, LoginFailureStore, LoginSubject } from "./login-failure-store.ts";
import { type LoginWait, waitOf } from "./login-limits.ts";
import { addressOf, networkOf } from "./login-network.ts";
import { LoginTraces, type LoginTracesDeps } from "./login-traces.ts";
import type { ChangedBy } from "./user.ts";

export interface LoginThrottleDeps extends LoginTracesDeps {
  readonly store: LoginFailureStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Hashes that the attempts of one address may cost in a minute, good ones included. */
  readonly hashesPerAddress: number;
}

/** An attempt that is about to be made. */
export interface AttemptInput {
  readonly clientIp: string;
  /** Normalised address, whether or not there is such an account. */
  readonly emailNormalized: string;
  /** Whether the account's password is guessed at. Register and a reset token only count for their address. */
  readonly isGuess: boolean;
}

const PRUNE_EVERY_MS = 600_000;

/**
 * Bounds guessing, by `LOGIN_LIMITS`: per account and network, per account, and per address; and what an address may cost in
 * hashes, however good its passwords are. All of it is kept in the
 * database, so neither a restart nor another process forgets, and under digests, so a dump does not say whose account
 * was tried.
 */
export class LoginThrottle {
  readonly #deps: LoginThrottleDeps;
  readonly #traces: LoginTraces;
  #prunedAtMs: number;

  constructor(deps: LoginThrottleDeps) {
    this.#deps = deps;
    this.#traces = new LoginTraces(deps);
    this.#prunedAtMs = deps.clock.monotonicMs();
  }

  begin(input: AttemptInput): LoginAttempt {
    this.#pruneNowAndThen();
    const subject = {
      accounts: this.#digestsOf(input.emailNormalized),
      ringVersion: this.#deps.ring.current,
      network: networkOf(input.clientIp),
      address: addressOf(input.clientIp),
      isGuess: input.isGuess,
      addressHashes: this.#deps.hashesPerAddress,
    };
    return new LoginAttempt({ ...this.#deps, traces: this.#traces }, subject, input);
  }

  /** Forgets an account's failures. */
  async clear(input: {
    readonly emailNormalized: string;
    readonly userId: string;
    readonly by: ChangedBy;
  }): Promise<void> {
    const { emailNormalized, userId, by } = input;
    await this.#deps.store.clear({ accounts: this.#digestsOf(emailNormalized), userId, by });
  }

  #digestsOf(emailNormalized: string): LoginSubject["accounts"] {
    const { ring } = this.#deps;
    const digest = (version: number) =>
      createHmac("sha256", ring.derive("email-digest", version) as Buffer)
        .update(emailNormalized)
        .digest();
    const [current = ring.current, ...others] = ring.versions;
    return [digest(current), ...others.map(digest)];
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

type LoginAttemptDeps = Pick<LoginThrottleDeps, "store" | "log"> & { readonly traces: LoginTraces };

/**
 * One attempt, in this order: `check`, then `count` when it is about to be judged, then `succeed` if it was good or
 * `failed` if it was a guess and wrong.
 */
export class LoginAttempt {
  readonly #deps: LoginAttemptDeps;
  readonly #subject: LoginSubject;
  readonly #input: AttemptInput;
  #counted: CountedFailure | undefined;

  constructor(deps: LoginAttemptDeps, subject: LoginSubject, input: AttemptInput) {
    this.#deps = deps;
    this.#subject = subject;
    this.#input = input;
  }

  /**
   * Refuses at the price of one read what would be refused later, so that throttled attempts don't take places from
   * others in the queue for a hash. Promises nothing to those that it lets pass.
   *
   * @throws TOO_MANY_ATTEMPTS, the same for accounts that don't exist
   */
  async check(): Promise<void> {
    const { failures, nowMs } = await this.#deps.store.find(this.#subject);
    const wait = waitOf(failures, nowMs, this.#subject);
    if (wait !== undefined) throw this.#refused(wait);
  }

  /**
   * Counts the attempt as failed. To be called when the hash's turn has come and before it begins: then parallel attempts
   * can't outrun the limits, and an attempt that is shed in the queue is no failure.
   *
   * @throws TOO_MANY_ATTEMPTS, the same for accounts that don't exist
   */
  async count(): Promise<void> {
    const outcome = await this.#deps.store.count(this.#subject);
    if ("retryAfterMs" in outcome) throw this.#refused(outcome);
    this.#counted = outcome;
  }

  /**
   * Counts a second hash of an attempt, such as that of a new password. To be called when its turn has come.
   *
   * @throws TOO_MANY_ATTEMPTS
   */
  async countHash(): Promise<void> {
    const wait = await this.#deps.store.countHash(this.#subject);
    if (wait !== undefined) throw this.#refused(wait);
  }

  /** Takes the failure back and begins anew. Never throws: a login that was good stays good. */
  async succeed(): Promise<void> {
    assert(this.#counted !== undefined, "an attempt succeeds only after it was counted");
    try {
      await this.#deps.store.succeed(this.#subject, this.#counted);
    } catch (error) {
      this.#deps.log.warn("a login that was good still counts as a failure", { reason: reasonOf(error) });
    }
  }

  /**
   * Puts a wrong password on record. It was counted already.
   *
   * @param userId undefined where there is no such account
   * @returns what is told to the log alone
   */
  failed(userId: string | undefined, reason: "login" | "change_password"): UntoldFacts {
    return { account: this.#deps.traces.failed(this.#input, userId ?? "", reason) };
  }

  #refused({ retryAfterMs, of }: LoginWait): DomainError {
    const untold = { account: this.#deps.traces.throttled(this.#input, of) };
    return new DomainError("TOO_MANY_ATTEMPTS", "too many attempts; try again later", { retryAfterMs, untold });
  }
}
