import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { DomainError, reasonOf, type UntoldFacts } from "../../lib/errors.ts";
import { networksOf } from "../../lib/ip.ts";
import type { KeyRing } from "../../lib/key-ring.ts";
import type { Log } from "../../lib/log.ts";
import type { HashCaller } from "../passwords/hash-turns.ts";
import type { KnownWaits } from "./known-waits.ts";
import type { AttemptOrigin, CountedFailure, LoginFailureStore, LoginSubject } from "./login-failure-store.ts";
import { isKnown, LOGIN_LIMITS, type LoginWait, waitOf } from "./login-limits.ts";
import { addressOf, countedNetworks, networkOf } from "./login-network.ts";
import type { LoginTraces, TracedAttempt } from "./login-traces.ts";

export interface AttemptDeps {
  readonly store: LoginFailureStore;
  readonly traces: LoginTraces;
  readonly ring: KeyRing;
  readonly log: Log;
  /** Maximum hashes that the attempts of one address may cost in a minute, successful ones included. */
  readonly hashesPerAddress: number;
  readonly known: KnownWaits;
}

/** An attempt that is about to be made. */
export interface AttemptInput {
  readonly clientIp: string;
  /** The text that names the account of a guess, as the caller sent it. */
  readonly name?: string;
  /** Whether it tries a password of an account. Register and a reset token count only for their address. */
  readonly isGuess: boolean;
  /** Whether the call has a token that may show that its caller is the owner. Checking the token costs a read. */
  readonly mayProve?: boolean;
}

/**
 * One attempt. Call, in this order: `check` when its account is known, `count` immediately before its password is
 * judged, then `succeed` or `failed`.
 */
export class LoginAttempt implements HashCaller {
  readonly #deps: AttemptDeps;
  readonly #input: AttemptInput;
  readonly #origin: AttemptOrigin;
  readonly networks: readonly string[];
  /** Whether memory says that it must wait, unless it is the owner's. Such attempts are judged one at a time. */
  readonly isDoubtful: boolean;
  #isKnown = false;
  #email = "";
  #subject: LoginSubject | undefined;
  #counted: CountedFailure | undefined;

  /** @throws TOO_MANY_ATTEMPTS */
  constructor(deps: AttemptDeps, input: AttemptInput) {
    const { clientIp, isGuess } = input;
    const { hashesPerAddress } = deps;
    this.#deps = deps;
    this.#input = input;
    this.networks = networksOf(clientIp);
    this.#origin = {
      address: addressOf(clientIp),
      networks: countedNetworks(clientIp, hashesPerAddress),
      isGuess,
      addressHashes: hashesPerAddress,
    };
    this.isDoubtful = this.#isKnownToWait();
  }

  /** Whether it comes from a network that logged in to the account lately, or is surely the owner's. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /**
   * Refuses an attempt that must wait, at the cost of one read, so that it takes no place in the queue for a hash. An
   * attempt that passes may still be refused by `count`.
   *
   * @param emailNormalized of the account, even if there is no such account
   * @param own.session finds the account's session whose refresh token came with the attempt; called only if the
   *   attempt would have to wait
   * @param own.isOwner whether the caller presented a reset token, or makes the call with a live session
   * @throws TOO_MANY_ATTEMPTS, the same for accounts that don't exist
   */
  async check(
    emailNormalized: string,
    own: { readonly session?: () => Promise<string | undefined>; readonly isOwner?: boolean } = {},
  ): Promise<void> {
    this.#email = emailNormalized;
    const { isOwner = false } = own;
    const { ring } = this.#deps;
    const accounts = digestsOf(ring, emailNormalized);
    const network = networkOf(this.#input.clientIp);
    this.#subject = { ...this.#origin, accounts, ringVersion: ring.current, network, isOwner };
    let wait = await this.#judge(this.#subject);
    const session = wait === undefined ? undefined : await own.session?.();
    if (session !== undefined) {
      this.#subject = { ...this.#subject, session };
      wait = await this.#judge(this.#subject);
    }
    if (wait !== undefined) throw this.#refused(wait);
    this.#deps.known.forget(this.#addressKey);
    this.#deps.known.forget(this.#accountKey);
    this.#isKnown ||= isOwner;
  }

  /**
   * Counts the attempt as failed. Call it when the hash's turn has come, before the hash begins. So parallel attempts
   * can't outrun the limits, and an attempt that loses its place in the queue is no failure.
   *
   * @throws TOO_MANY_ATTEMPTS, the same for accounts that don't exist
   */
  async count(): Promise<void> {
    const outcome = await this.#deps.store.count(this.#checked());
    if ("retryAfterMs" in outcome) throw this.#refused(outcome);
    this.#counted = outcome;
  }

  /**
   * Counts an attempt that names no account, such as one with an unknown reset token, as a failure and a hash of its
   * address.
   *
   * @throws TOO_MANY_ATTEMPTS
   */
  async countMiss(): Promise<void> {
    const wait = await this.#deps.store.countMiss(this.#origin);
    if (wait !== undefined) throw this.#refused(wait);
  }

  /**
   * Counts a second hash of an attempt that succeeded, such as that of a new password. Call it when the hash's turn has
   * come.
   *
   * @throws TOO_MANY_ATTEMPTS
   */
  async countHash(): Promise<void> {
    const wait = await this.#deps.store.countHash({ ...this.#checked(), isOwner: true });
    if (wait !== undefined) throw this.#refused(wait);
  }

  /** Takes the counted failure back and forgets the account's earlier ones. Never throws: the login succeeds anyway. */
  async succeed(): Promise<void> {
    assert(this.#counted !== undefined, "an attempt succeeds only after it was counted");
    this.#isKnown = true;
    try {
      await this.#deps.store.succeed(this.#checked(), this.#counted);
      this.#deps.known.clear();
    } catch (error) {
      this.#deps.log.warn("a login that was good still counts as a failure", {
        reason: reasonOf(error),
      });
    }
  }

  /**
   * Records a wrong password on the audit trail. It was counted already.
   *
   * @param userId undefined if there is no such account
   * @returns the facts for the log, which the caller must not see
   */
  failed(userId: string | undefined, reason: "login" | "change_password"): UntoldFacts {
    return { account: this.#deps.traces.failed(this.#traced, userId ?? "", reason) };
  }

  #checked(): LoginSubject {
    assert(this.#subject !== undefined, "an attempt is counted only after it was checked");
    return this.#subject;
  }

  async #judge(subject: LoginSubject): Promise<LoginWait | undefined> {
    const { failures, nowMs } = await this.#deps.store.find(subject);
    this.#isKnown = isKnown(failures, nowMs);
    return waitOf(failures, nowMs, subject);
  }

  /**
   * Looks in memory for a wait of the attempt. It refuses an attempt that no proof can save: its address must wait, or
   * it has no token and must wait for its account. A network that has used up its hashes still admits owners, and only
   * a read tells whether the caller is one.
   *
   * @returns whether the attempt must wait, unless it is the owner's
   */
  #isKnownToWait(): boolean {
    const { known } = this.#deps;
    const { isGuess, mayProve = false } = this.#input;
    const ofAddress = known.of(this.#addressKey);
    if (ofAddress !== undefined) throw this.#refusal({ ...ofAddress, of: "address" });
    const ofAccount = isGuess ? known.of(this.#accountKey) : undefined;
    if (ofAccount !== undefined && !mayProve) {
      this.#email = ofAccount.email;
      throw this.#refusal({ ...ofAccount, of: "account" });
    }
    for (const { name } of this.#origin.networks) {
      const ofNetwork = known.of(networkKey(name));
      if (ofNetwork === undefined) continue;
      if (!isGuess && !mayProve) throw this.#refusal({ ...ofNetwork, of: "network", network: name });
      return true;
    }
    return ofAccount !== undefined;
  }

  get #addressKey(): string {
    return `address ${this.#origin.address}`;
  }

  get #accountKey(): string {
    return `account ${this.#origin.address} ${this.#input.name ?? ""}`;
  }

  #refused(wait: LoginWait): DomainError {
    const { known } = this.#deps;
    const { retryAfterMs, of, network } = wait;
    const ofWindowMs = Math.min(retryAfterMs, LOGIN_LIMITS.addressWindowMs);
    if (of === "address") known.note(this.#addressKey, ofWindowMs);
    else if (this.#input.isGuess) known.note(this.#accountKey, retryAfterMs, this.#email);
    if (network !== undefined) known.note(networkKey(network), ofWindowMs);
    return this.#refusal(wait);
  }

  #refusal({ retryAfterMs, of }: LoginWait): DomainError {
    const account = this.#deps.traces.throttled(this.#traced, of);
    return new DomainError("TOO_MANY_ATTEMPTS", "too many attempts; try again later", {
      retryAfterMs,
      ...(account !== undefined && { untold: { account } }),
    });
  }

  get #traced(): TracedAttempt {
    return { clientIp: this.#input.clientIp, emailNormalized: this.#email };
  }
}

function networkKey(name: string): string {
  return `network ${name}`;
}

/** Digests of an account's address under each version of the master key, the current version first. */
export function digestsOf(ring: KeyRing, emailNormalized: string): LoginSubject["accounts"] {
  const digest = (version: number) =>
    createHmac("sha256", ring.derive("email-digest", version) as Buffer)
      .update(emailNormalized)
      .digest();
  const [current = ring.current, ...others] = ring.versions;
  return [digest(current), ...others.map(digest)];
}
