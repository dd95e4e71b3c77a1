import type { Actor } from "../../audit/actor.ts";
import type { Judged, LoginFailures, LoginWait } from "./login-limits.ts";

/** The origin of an attempt. */
export interface AttemptOrigin extends Judged {
  /** The result of `addressOf`. */
  readonly address: string;
}

/** The account and the origin for which an attempt is counted. */
export interface LoginSubject extends AttemptOrigin {
  /**
   * Digests of one account's address, 32 bytes each, one for each version of the master key. The first one is under
   * this process' current version, which may differ from another process'. Failures under any of them count, and
   * attempts of processes that share a version run one after another.
   */
  readonly accounts: readonly [Uint8Array, ...Uint8Array[]];
  /** The master key version of the first digest, under which failures and networks are stored. */
  readonly ringVersion: number;
  /** The result of `networkOf`. */
  readonly network: string;
  /** Id of the account's session whose genuine refresh token came with the attempt. */
  readonly session?: string | undefined;
}

/** A failure that was counted. A success takes it back. */
export interface CountedFailure {
  readonly atMs: number;
  /** The account's failures in a row, this one included; 0 if the attempt was no guess. */
  readonly ofAccount: number;
}

/**
 * Stores failed logins durably, by digest. It treats accounts that don't exist like those that do, so that nothing here
 * tells who has an account. Methods that write run one after another for one account, and for one address. Times are
 * the database's.
 */
export interface LoginFailureStore {
  /** Reads the failures. Waits for no lock, so it may miss attempts that are being counted. */
  find(subject: LoginSubject): Promise<{ readonly failures: LoginFailures; readonly nowMs: number }>;

  /**
   * Counts a failure and a hash, unless `LOGIN_LIMITS` make the attempt wait. Judging and writing are one step. A
   * refused attempt is counted nowhere, so that it does not prolong the wait.
   */
  count(subject: LoginSubject): Promise<CountedFailure | LoginWait>;

  /**
   * Counts one more hash of the address and its networks, unless one of them has used up its hashes. Counts no failure.
   *
   * @returns the wait, if one of them has
   */
  countHash(subject: AttemptOrigin): Promise<LoginWait | undefined>;

  /** Counts a failure and a hash of an address that named no account, unless `LOGIN_LIMITS` make it wait. */
  countMiss(origin: AttemptOrigin): Promise<LoginWait | undefined>;

  /**
   * Takes a counted failure back, but not its hash. Failures of the account that were counted before it are forgotten;
   * failures of others that were counted since stay. Network, address and session start again without failures, and
   * network and address are known from now on.
   *
   * Only the last `MAX_KNOWN_NETWORKS` networks and `MAX_KNOWN_ADDRESSES` addresses that logged in to an account stay
   * known.
   */
  succeed(subject: LoginSubject, counted: CountedFailure): Promise<void>;

  /** Forgets all failures of an account, and records it on the audit trail. Its known networks stay known. */
  clear(input: {
    readonly accounts: LoginSubject["accounts"];
    readonly userId: string;
    readonly by: Actor;
  }): Promise<void>;

  /**
   * Deletes some of the rows that no judgement would read, few enough that no transaction is long. It also bounds the
   * rows that an attacker with many addresses can fill. Beyond `MAX_LOGIN_ROWS` accounts, those with the fewest
   * failures are deleted, so that a flood of invented accounts does not reset the count of a real one. Beyond
   * `MAX_LOGIN_ROWS` networks, those that would be forgotten first are deleted.
   *
   * @returns whether more are left
   */
  prune(): Promise<boolean>;
}

/** Maximum rows of accounts, and of networks. Each takes about 100 MB. */
export const MAX_LOGIN_ROWS = 1_000_000;
export const MAX_KNOWN_NETWORKS = 50;
/** Few, because each may fail `LOGIN_LIMITS.ownFailures` times while the account is closed to others. */
export const MAX_KNOWN_ADDRESSES = 10;
