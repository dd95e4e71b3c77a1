import { DAY_MS, MINUTE_MS } from "../../lib/clock.ts";

/*
 * How much guessing is allowed: the arithmetic, no I/O. An attempt is counted as failed before its password is judged,
 * so "failures" are failed attempts and those that are being judged.
 */

const SECOND_MS = 1000;

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
  /** From this many on only the owner's own may try. NIST SP 800-63B-4, 3.2.2: at most 100. */
  maxFailures: 100,
  /** An address or session of the owner may fail this many times in a row while the account is closed to others. */
  ownFailures: 10,
  /** How long after a login its network and its address are still known. */
  knownNetworkMs: 30 * DAY_MS,
  /** So many failures may one address have, whatever accounts they were for, ... */
  addressFailures: 20,
  /** ... in any window of this length. */
  addressWindowMs: MINUTE_MS,
  /** A /56 of IPv6 may have this many times the hashes of one address, ... */
  siteHashFactor: 2,
  /** ... and a /24 of IPv4 or a /48 of IPv6 this many times. */
  networkHashFactor: 4,
  /** The part of a network's hashes that is kept for owners. */
  ownPart: 1 / 4,
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
  /**
   * What shows that the attempt is surely the owner's: the exact address, if it logged in to the account during the last
   * `knownNetworkMs`, and the session whose refresh token came with it. With the failures of each in a row.
   */
  readonly own: readonly OwnFailures[];
  /** Times of the address' failures within the last window, whatever accounts they were for. */
  readonly addressFailedAtMs: readonly number[];
  /** Times of the hashes that its attempts cost within the last window, good ones included. */
  readonly addressHashedAtMs: readonly number[];
  /** The same of each network that the address is in, as `Judged.networks` has them. */
  readonly networkHashedAtMs: readonly (readonly number[])[];
}

/** Failures in a row of an address or a session of the owner. */
export interface OwnFailures {
  readonly failures: number;
  readonly failedAtMs: number | undefined;
}

/** What an attempt has to wait for. */
export interface LoginWait {
  readonly retryAfterMs: number;
  /**
   * Whose attempts they were: the address', whatever accounts it tried; those of a network that it is in; or those at the
   * account.
   */
  readonly of: "address" | "network" | "account";
  /** The network's name, where it is a network's. */
  readonly network?: string;
}

/** A network whose hashes are counted: more than one address. */
export interface CountedNetwork {
  /** Such as 192.0.2.0/24. */
  readonly name: string;
  /** Most hashes that its attempts may cost in any window, those of owners included. */
  readonly hashes: number;
}

/** What an attempt is judged for. */
export interface Judged {
  /** Whether an account's password is tried. */
  readonly isGuess: boolean;
  /** Most hashes that the attempts of one address may cost in any window, good ones included. */
  readonly addressHashes: number;
  /** The networks that the address is in. */
  readonly networks: readonly CountedNetwork[];
  /** Whether it is surely the owner's: they showed the right password, or a reset token of an operator. */
  readonly isOwner?: boolean;
}

/** What an attempt has to wait for; undefined: it may be made now. */
export function waitOf(failures: LoginFailures, nowMs: number, judged: Judged): LoginWait | undefined {
  return longestOf([
    { waitMs: addressWait(failures, nowMs), of: "address" },
    ...hashWaits(failures, nowMs, judged),
    { waitMs: judged.isGuess ? standingWait(failures, nowMs) : 0, of: "account" },
  ]);
}

/** What one more hash has to wait for; undefined: it may be made now. */
export function waitOfHash(failures: LoginFailures, nowMs: number, judged: Judged): LoginWait | undefined {
  return longestOf(hashWaits(failures, nowMs, judged));
}

/** A wait that may be none: 0 or less. */
interface MaybeWait extends Omit<LoginWait, "retryAfterMs"> {
  readonly waitMs: number;
}

function hashWaits(failures: LoginFailures, nowMs: number, judged: Judged): MaybeWait[] {
  const isOwner = judged.isOwner === true || failures.own.length > 0;
  const ofNetworks = judged.networks.map(({ name, hashes }, at) => {
    const most = isOwner ? hashes : Math.ceil(hashes * (1 - LOGIN_LIMITS.ownPart));
    const waitMs = windowWait(failures.networkHashedAtMs[at] ?? [], most, nowMs);
    return { waitMs, of: "network" as const, network: name };
  });
  const ofAddressMs = windowWait(failures.addressHashedAtMs, judged.addressHashes, nowMs);
  return [{ waitMs: ofAddressMs, of: "address" }, ...ofNetworks];
}

/** The longest wait, under the name of the first that there is. */
function longestOf(maybe: readonly MaybeWait[]): LoginWait | undefined {
  const [first] = maybe.filter(({ waitMs }) => waitMs > 0);
  const retryAfterMs = longest(maybe.map(({ waitMs }) => waitMs));
  if (first === undefined || retryAfterMs === undefined) return undefined;
  const { waitMs: _, ...cause } = first;
  return { retryAfterMs, ...cause };
}

/** Whether the attempt comes from where someone logged in to the account lately, or is surely the owner's. */
export function isKnown(failures: LoginFailures, nowMs: number): boolean {
  return failures.own.length > 0 || isKnownNetwork(failures, nowMs);
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

/** The shortest of the waits of an attempt that may be made on more than one ground: as anyone's, and as the owner's. */
function standingWait(failures: LoginFailures, nowMs: number): number {
  const asAnyone = Math.max(accountWait(failures, nowMs), networkWait(failures, nowMs));
  return Math.min(asAnyone, ...failures.own.map((own) => ownWait(failures, own, nowMs)));
}

/** Of an address or a session of the owner: only its own failures count while the account is closed to others. */
function ownWait({ ofAccount }: LoginFailures, { failures, failedAtMs }: OwnFailures, nowMs: number): number {
  const { openFailures, ownFailures, maxWaitMs } = LOGIN_LIMITS;
  if (ofAccount >= openFailures && failures >= ownFailures) return maxWaitMs;
  return growingWait(failures, failedAtMs, nowMs);
}

/** No wait of its own ends this one, so it says the longest there is. */
function accountWait(failures: LoginFailures, nowMs: number): number {
  const { openFailures, maxFailures, maxWaitMs } = LOGIN_LIMITS;
  if (failures.ofAccount < openFailures) return 0;
  return failures.ofAccount < maxFailures && isKnownNetwork(failures, nowMs) ? 0 : maxWaitMs;
}

function isKnownNetwork({ networkLoggedInAtMs }: LoginFailures, nowMs: number): boolean {
  return networkLoggedInAtMs !== undefined && nowMs < networkLoggedInAtMs + LOGIN_LIMITS.knownNetworkMs;
}

function networkWait({ ofNetwork, networkFailedAtMs }: LoginFailures, nowMs: number): number {
  return growingWait(ofNetwork, networkFailedAtMs, nowMs);
}

function growingWait(failures: number, failedAtMs: number | undefined, nowMs: number): number {
  const { freeFailures, firstWaitMs, maxWaitMs } = LOGIN_LIMITS;
  if (failures < freeFailures || failedAtMs === undefined) return 0;
  const waitMs = Math.min(firstWaitMs * 2 ** (failures - freeFailures), maxWaitMs);
  // A clock that stepped back must not make the wait longer than it is.
  return Math.min(failedAtMs + waitMs - nowMs, waitMs);
}

function longest(waits: readonly number[]): number | undefined {
  const waitMs = Math.max(...waits);
  return waitMs > 0 ? Math.ceil(waitMs / SECOND_MS) * SECOND_MS : undefined;
}
