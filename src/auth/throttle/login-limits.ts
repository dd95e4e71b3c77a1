import { DAY_MS, MINUTE_MS } from "../../lib/clock.ts";

/*
 * The limits of guessing and their arithmetic, no I/O. An attempt is counted as failed before its password is judged.
 * So "failures" are failed attempts and attempts that are being judged.
 */

const SECOND_MS = 1000;

export const LOGIN_LIMITS = Object.freeze({
  /** Failures in a row of one network for one account that cause no wait. */
  freeFailures: 5,
  /** Wait after `freeFailures`. It doubles with each further failure. */
  firstWaitMs: SECOND_MS,
  maxWaitMs: 15 * MINUTE_MS,
  /** Time without a failure after which a network no longer waits. The account keeps its own count. */
  networkMemoryMs: DAY_MS,
  /** Failures in a row of an account. From this number on, only known networks may try it; see `knownNetworkMs`. */
  openFailures: 90,
  /**
   * Failures in a row of an account. From this number on, only the owner's own addresses and sessions may try it. NIST
   * SP 800-63B-4, 3.2.2 allows at most 100.
   */
  maxFailures: 100,
  /** Failures in a row that an address or session of the owner may have while the account is closed to others. */
  ownFailures: 10,
  /** Time after a login for which its network and its address are known. */
  knownNetworkMs: 30 * DAY_MS,
  /** Maximum failures of one address in any `addressWindowMs`, whatever accounts they were for. */
  addressFailures: 20,
  addressWindowMs: MINUTE_MS,
  /** An IPv6 /56 may have this many times the hashes of one address. */
  siteHashFactor: 2,
  /** An IPv4 /24 or an IPv6 /48 may have this many times the hashes of one address. */
  networkHashFactor: 4,
  /** The part of a network's hashes that is reserved for owners. */
  ownPart: 1 / 4,
});

/** The facts by which an attempt is judged. */
export interface LoginFailures {
  /** Failures in a row for the account, from anywhere. */
  readonly ofAccount: number;
  /** Failures in a row for the account from this network. */
  readonly ofNetwork: number;
  /** When this network failed last; undefined if `ofNetwork` is 0. */
  readonly networkFailedAtMs: number | undefined;
  /** When the last login to the account from this network succeeded; undefined for never. */
  readonly networkLoggedInAtMs: number | undefined;
  /**
   * The proofs that the attempt is surely the owner's, with the failures in a row of each. One proof is the exact
   * address, if it logged in to the account during the last `knownNetworkMs`. The other is the session whose refresh
   * token came with the attempt.
   */
  readonly own: readonly OwnFailures[];
  /** Times of the address' failures within the last `addressWindowMs`, whatever accounts they were for. */
  readonly addressFailedAtMs: readonly number[];
  /**
   * Times of the hashes that the address' attempts cost within the last `addressWindowMs`, successful ones included.
   */
  readonly addressHashedAtMs: readonly number[];
  /** Times of the hashes of each network of `Judged.networks`, in the same order. */
  readonly networkHashedAtMs: readonly (readonly number[])[];
}

/** Failures in a row of an address or a session of the owner. */
export interface OwnFailures {
  readonly failures: number;
  readonly failedAtMs: number | undefined;
}

/** A wait that an attempt must observe. */
export interface LoginWait {
  readonly retryAfterMs: number;
  /** The cause: attempts of the address at any account, attempts of one of its networks, or attempts at the account. */
  readonly of: "address" | "network" | "account";
  /** The name of the network, if a network is the cause. */
  readonly network?: string;
}

/** A network of more than one address whose hashes are counted. */
export interface CountedNetwork {
  /** Such as 192.0.2.0/24. */
  readonly name: string;
  /** Maximum hashes that its attempts may cost in any `addressWindowMs`, those of owners included. */
  readonly hashes: number;
}

/** The facts about an attempt that decide its limits. */
export interface Judged {
  /** Whether an account's password is tried. */
  readonly isGuess: boolean;
  /** Maximum hashes that the attempts of one address may cost in any `addressWindowMs`, successful ones included. */
  readonly addressHashes: number;
  /** The networks that contain the address. */
  readonly networks: readonly CountedNetwork[];
  /** Whether it is surely the owner's, because they gave the right password or a reset token of an operator. */
  readonly isOwner?: boolean;
}

/**
 * The wait that an attempt must observe; undefined if it may be made now. It is in whole seconds, rounded up, so that
 * it tells the caller no more about others' attempts than they need.
 */
export function waitOf(failures: LoginFailures, nowMs: number, judged: Judged): LoginWait | undefined {
  return longestOf([
    { waitMs: addressWait(failures, nowMs), of: "address" },
    ...hashWaits(failures, nowMs, judged),
    { waitMs: judged.isGuess ? standingWait(failures, nowMs) : 0, of: "account" },
  ]);
}

/** The wait for one more hash; undefined if it may be made now. */
export function waitOfHash(failures: LoginFailures, nowMs: number, judged: Judged): LoginWait | undefined {
  return longestOf(hashWaits(failures, nowMs, judged));
}

/** A wait that may be 0 or less, which means none. */
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

/** The longest wait, with the cause of the first one that is above 0. */
function longestOf(maybe: readonly MaybeWait[]): LoginWait | undefined {
  const [first] = maybe.filter(({ waitMs }) => waitMs > 0);
  const retryAfterMs = longest(maybe.map(({ waitMs }) => waitMs));
  if (first === undefined || retryAfterMs === undefined) return undefined;
  const { waitMs: _, ...cause } = first;
  return { retryAfterMs, ...cause };
}

/** Whether the attempt comes from a network that logged in to the account lately, or is surely the owner's. */
export function isKnown(failures: LoginFailures, nowMs: number): boolean {
  return failures.own.length > 0 || isKnownNetwork(failures, nowMs);
}

function addressWait({ addressFailedAtMs }: Pick<LoginFailures, "addressFailedAtMs">, nowMs: number): number {
  return windowWait(addressFailedAtMs, LOGIN_LIMITS.addressFailures, nowMs);
}

/** The wait of an exact sliding window: a new attempt fits once the `most`-th newest time has left the window. */
function windowWait(timesMs: readonly number[], most: number, nowMs: number): number {
  const { addressWindowMs } = LOGIN_LIMITS;
  const leaving = timesMs.toSorted((a, b) => a - b).at(-most);
  if (leaving === undefined) return 0;
  return Math.min(leaving + addressWindowMs - nowMs, addressWindowMs);
}

/**
 * The wait for the account. It is the shortest one, because an attempt with a proof may count as any caller's or as the
 * owner's.
 */
function standingWait(failures: LoginFailures, nowMs: number): number {
  const asAnyone = Math.max(accountWait(failures, nowMs), networkWait(failures, nowMs));
  return Math.min(asAnyone, ...failures.own.map((own) => ownWait(failures, own, nowMs)));
}

/** The wait of an owner's address or session: only its own failures count while the account is closed to others. */
function ownWait({ ofAccount }: LoginFailures, { failures, failedAtMs }: OwnFailures, nowMs: number): number {
  const { openFailures, ownFailures, maxWaitMs } = LOGIN_LIMITS;
  if (ofAccount >= openFailures && failures >= ownFailures) return maxWaitMs;
  return growingWait(failures, failedAtMs, nowMs);
}

/** The wait of a closed account is always the maximum, because waiting does not open it. */
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
