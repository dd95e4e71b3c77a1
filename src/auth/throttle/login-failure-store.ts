import type { Actor } from "../../audit/actor.ts";
import type { Judged, LoginFailures, LoginWait } from "./login-limits.ts";

/** The address that an attempt comes from. */
export interface AttemptOrigin extends Judged {
  /** As `addressOf` has it. */
  readonly address: string;
}

/** What an attempt is counted for. */
export interface LoginSubject extends AttemptOrigin {
  /**
   * Digests of one account's address, 32 bytes each, one per version of the master key. The first is under the version
   * that is current in this process, which may not be the current one of another: what is kept under any of them counts,
   * and processes that share a version pass one after the other.
   */
  readonly accounts: readonly [Uint8Array, ...Uint8Array[]];
  /** Master key version of the first digest, under which failures and networks are kept. */
  readonly ringVersion: number;
  /** As `networkOf` has it. */
  readonly network: string;
  /** Id of the account's session whose refresh token came with the attempt and was found genuine. */
  readonly session?: string | undefined;
}

/** A failure as it was counted; with it a success can take it back. */
export interface CountedFailure {
  readonly atMs: number;
  /** The account's failures in a row, this one included; 0 where there was no guess. */
  readonly ofAccount: number;
}

/**
 * Where failed logins are kept: durably, by digest, whether or not there is such an account, so that nothing here tells
 * who has one. Attempts on one account, and attempts from one address, pass one after the other through each method that
 * writes. Times are the database's.
 */
export interface LoginFailureStore {
  /** How things stand. Waits for nobody, so it may be behind attempts that are being counted. */
  find(subject: LoginSubject): Promise<{ readonly failures: LoginFailures; readonly nowMs: number }>;

  /**
   * Counts a failure and a hash, unless `LOGIN_LIMITS` make the attempt wait: judged and written in one step. A refused attempt
   * counts nowhere, so that nobody prolongs a wait by not waiting.
   */
  count(subject: LoginSubject): Promise<CountedFailure | LoginWait>;

  /**
   * Counts one more hash of the address and its networks, and nothing else, unless one of them has had as many as it may.
   * @returns what it has to wait for
   */
  countHash(subject: AttemptOrigin): Promise<LoginWait | undefined>;

  /** Counts a failure and a hash of an address that named no account, unless `LOGIN_LIMITS` make it wait. */
  countMiss(origin: AttemptOrigin): Promise<LoginWait | undefined>;

  /**
   * Takes a counted failure back, not its hash, and ends the account's run: failures counted before it are forgotten, those counted
   * since, by others, stay. Network, address and session start again without failures, and network and address are known
   * from now on. Of the networks of one account the `MAX_KNOWN_NETWORKS` that logged in last are kept, and of its addresses
   * the `MAX_KNOWN_ADDRESSES`.
   */
  succeed(subject: LoginSubject, counted: CountedFailure): Promise<void>;

  /** Forgets all failures of an account; its known networks stay known. Puts it on record under the user's id. */
  clear(input: {
    readonly accounts: LoginSubject["accounts"];
    readonly userId: string;
    readonly by: Actor;
  }): Promise<void>;

  /**
   * Removes what no judgement would look at. Also bounds what an attacker with many addresses can fill: beyond
   * `MAX_LOGIN_ROWS` accounts those with the fewest failures go, so that no flood of made-up accounts frees one that is
   * guarded; and beyond as many networks those that would be forgotten first.
   */
  prune(): Promise<void>;
}

/** About 100 MB each for accounts and networks. */
export const MAX_LOGIN_ROWS = 1_000_000;
export const MAX_KNOWN_NETWORKS = 50;
/** Each may fail `LOGIN_LIMITS.ownFailures` times while the account is closed to others, so there are few. */
export const MAX_KNOWN_ADDRESSES = 10;
