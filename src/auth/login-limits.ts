/*
 * How much guessing is allowed: the arithmetic, no I/O. An attempt is counted as failed before its password is judged,
 * so "failures" are failed attempts and those that are being judged.
 */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 86_400_000;

export const LOGIN_LIMITS = Object.freeze({
  /** So many failures in a row a network has for one account without waiting. */
  freeFailures: 5,
  /** Wait after that many; it doubles with each further failure. */
  firstWaitMs: SECOND_MS,
  maxWaitMs: 15 * MINUTE_MS,
  /** A network without a failure for so long waits no more. The account's own count is not forgotten by this. */
  networkMemoryMs: DAY_MS,
  /** From this many failures in a row of an account on, only networks that it logged in from may try. */
  openFailures: 90,
  /** From this many on nobody may, until an operator helps. NIST SP 800-63B-4, 3.2.2: at most 100. */
  maxFailures: 100,
  /** How long after a login its network may still try. */
  knownNetworkMs: 30 * DAY_MS,
  /** So many failures may one address have, whatever accounts they were for, ... */
  addressFailures: 20,
  /** ... in any window of this length. */
  addressWindowMs: MINUTE_MS,
});

/** What an attempt is judged by. */
export interface LoginFailures {
  /** In a row for the account, from anywhere. */
  readonly ofAccount: number;
  /** In a row for the account from this network. */
  readonly ofNetwork: number;
  /** When this network failed last; undefined if `ofNetwork` is 0. */
  readonly networkFailedAtMs: number | undefined;
  /** When someone last logged in to the account from this network; undefined for never. */
  readonly networkLoggedInAtMs: number | undefined;
  /** Times of the address' failures within the last window, whatever accounts they were for. */
  readonly addressFailedAtMs: readonly number[];
  /** Times of the hashes that its attempts cost within the last window, good ones included. */
  readonly addressHashedAtMs: readonly number[];
}

/**
 * How long an attempt on an account has to wait; undefined: it may be made now. Whole seconds, rounded up: an answer
 * says no more about others' attempts than its caller needs.
 */
export function accountWaitMs(failures: LoginFailures, nowMs: number): number | undefined {
  return longest([addressWait(failures, nowMs), accountWait(failures, nowMs), networkWait(failures, nowMs)]);
}

/** The same for an attempt that guesses at no password, such as Register: only its address counts. */
export function addressWaitMs(failures: Pick<LoginFailures, "addressFailedAtMs">, nowMs: number): number | undefined {
  return longest([addressWait(failures, nowMs)]);
}

/** What an attempt has to wait for. */
export interface LoginWait {
  readonly retryAfterMs: number;
  /** Whose failures they were: the address', whatever accounts it tried, or the account's. */
  readonly of: "address" | "account";
}

/** What an attempt is judged for. */
export interface Judged {
  /** Whether an account's password is tried. */
  readonly isGuess: boolean;
  /** So many hashes may the attempts of one address cost in any window, good ones included. */
  readonly addressHashes: number;
}

/** What an attempt has to wait for; undefined: it may be made now. */
export function waitOf(failures: LoginFailures, nowMs: number, judged: Judged): LoginWait | undefined {
  const ofHashesMs = hashWaitMs(failures, nowMs, judged.addressHashes);
  const ofAddressMs = longest([addressWaitMs(failures, nowMs) ?? 0, ofHashesMs ?? 0]);
  const ofAccountMs = judged.isGuess ? accountWaitMs(failures, nowMs) : undefined;
  const retryAfterMs = longest([ofAddressMs ?? 0, ofAccountMs ?? 0]);
  return retryAfterMs === undefined
    ? undefined
    : { retryAfterMs, of: ofAddressMs === undefined ? "account" : "address" };
}

/** How long one more hash of an address has to wait; undefined: it may be made now. */
export function hashWaitMs(
  { addressHashedAtMs }: Pick<LoginFailures, "addressHashedAtMs">,
  nowMs: number,
  addressHashes: number,
): number | undefined {
  return longest([windowWait(addressHashedAtMs, addressHashes, nowMs)]);
}

function addressWait({ addressFailedAtMs }: Pick<LoginFailures, "addressFailedAtMs">, nowMs: number): number {
  return windowWait(addressFailedAtMs, LOGIN_LIMITS.addressFailures, nowMs);
}

/** The window is exact: the oldest of the newest so many has to leave it. */
function windowWait(timesMs: readonly number[], most: number, nowMs: number): number {
  const { addressWindowMs } = LOGIN_LIMITS;
  const leaving = timesMs.toSorted((a, b) => a - b).at(-most);
  if (leaving === undefined) return 0;
  return Math.min(leaving + addressWindowMs - nowMs, addressWindowMs);
}

/** No wait of its own ends this one, so it says the longest there is. */
function accountWait(failures: LoginFailures, nowMs: number): number {
  const { openFailures, maxFailures, maxWaitMs } = LOGIN_LIMITS;
  if (failures.ofAccount < openFailures) return 0;
  return failures.ofAccount < maxFailures && isKnown(failures, nowMs) ? 0 : maxWaitMs;
}

function isKnown({ networkLoggedInAtMs }: LoginFailures, nowMs: number): boolean {
  return networkLoggedInAtMs !== undefined && nowMs < networkLoggedInAtMs + LOGIN_LIMITS.knownNetworkMs;
}

function networkWait({ ofNetwork, networkFailedAtMs }: LoginFailures, nowMs: number): number {
  const { freeFailures, firstWaitMs, maxWaitMs } = LOGIN_LIMITS;
  if (ofNetwork < freeFailures || networkFailedAtMs === undefined) return 0;
  const waitMs = Math.min(firstWaitMs * 2 ** (ofNetwork - freeFailures), maxWaitMs);
  // A clock that stepped back must not make the wait longer than it is.
  return Math.min(networkFailedAtMs + waitMs - nowMs, waitMs);
}

function longest(waits: readonly number[]): number | undefined {
  const waitMs = Math.max(...waits);
  return waitMs > 0 ? Math.ceil(waitMs / SECOND_MS) * SECOND_MS : undefined;
}
