import assert from "node:assert/strict";

/**
 * RATE LIMITS. A caller of this room names a subject and the limits that one call must meet; the limiter decides all of
 * them together, all or nothing, and says how the windows stand then.
 *
 *   limiter.ts             the limiter over a store that processes share; local-limiter.ts is that of one process alone
 *   full-windows.ts        denials that need no asking
 *   store-part.ts          group commit, the 50 ms, the breaker (breaker.ts) and its probes
 *   local-share.ts         what this process decides alone while the store is out of reach,
 *                          and what of it the store is told then (untold-counts.ts)
 *   limit-store.ts         what the limiter needs of a place that keeps windows; `redis/` has another
 *   memory-limit-store.ts  windows in this process; forgotten-limits.ts tells when it has no room for all
 *   window.ts              the arithmetic of one window, no I/O
 *
 * The room knows nothing of keys, tiers or people: a subject is a text.
 */

/** Lengths of the two windows that a limit may have. */
export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

/**
 * The figures of one limit: the most in any interval of that length. `undefined` means that the window is neither judged
 * nor reported, 0 that nothing is allowed. A limit with one figure counts in both windows, because the figures are not
 * part of a window; a limit with none is no limit and counts nowhere.
 */
export interface LimitFigures {
  readonly perMinute: number | undefined;
  readonly perDay: number | undefined;
}

/** One limit that a call must meet. Its windows are identified by (subject, name, length), never by the figures. */
export interface NamedLimit extends LimitFigures {
  /** Empty for the subject's own limit; otherwise 1 to 64 of `[a-z0-9._/-]`. */
  readonly name: string;
}

/** One call, to be counted in all windows of all its limits or in none. */
export interface LimitRequest {
  /** Any text up to 300 bytes. It enters store keys only as a digest. */
  readonly subject: string;
  /** How much the call takes: 0 looks without counting and is always allowed. An integer, never negative. */
  readonly cost: number;
  /** At most 9, names distinct. */
  readonly limits: readonly NamedLimit[];
}

/** One window after a decision. */
export interface WindowStatus {
  readonly name: string;
  readonly lengthMs: number;
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** Until `remaining` equals `limit` if no call follows. */
  readonly resetAfterMs: number;
}

export interface LimitDecision {
  readonly allowed: boolean;
  /**
   * For a denied call: the earliest time at which it would be allowed if nobody else called; 1 ms earlier it is not.
   * `undefined` when it never will be, because the cost is above a limit, and for allowed calls. Where `degraded`, it is
   * so for this process's share of the limits only; a cost that is above the share alone is told to wait a second.
   */
  readonly retryAfterMs: number | undefined;
  /** In the order of the request's limits, the minute before the day; windows without a figure are left out. */
  readonly windows: readonly WindowStatus[];
  /** Decided by this process alone because the shared store was out of reach. */
  readonly degraded: boolean;
}

/**
 * What other rooms see of this one. Decisions never fail for a store that is out of reach: they degrade, within 60 ms.
 * Another process that holds a window for full notices a reset or a lost window within 5 s.
 */
export interface Limiter {
  /** At once where nothing is to be asked. */
  decide(request: LimitRequest): LimitDecision | Promise<LimitDecision>;
  /** Decides in order; a later request sees what an earlier one of the same subject has counted. */
  decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /**
   * Empties the subject's own windows and those of the names given.
   *
   * @throws LIMITS_UNAVAILABLE when the store is out of reach: whoever resets must know that it was not done
   */
  reset(subject: string, names: readonly string[]): Promise<void>;
  /** Whether all decisions of some subjects are degraded now. */
  isDegraded(): boolean;
  /** How many limits in use this process has forgotten for want of room, since its start. */
  forgottenLimits(): number;
  /** How many decisions were degraded, since its start: single ones before a store counts as out of reach too. */
  degradedDecisions(): number;
  /** Ends what runs in the background. */
  close(): void;
}

/** The decision where there is no limit to meet. */
export const NOT_LIMITED: LimitDecision = Object.freeze({
  allowed: true,
  retryAfterMs: undefined,
  windows: Object.freeze([]),
  degraded: false,
});

const MAX_LIMITS = 9;

/** The limits of a request that limit anything. Asserts what a store relies on. */
export function limitsWithFigures({ cost, limits }: LimitRequest): readonly NamedLimit[] {
  assert(Number.isSafeInteger(cost) && cost >= 0, "a cost is a whole number");
  assert(limits.length <= MAX_LIMITS, "at most 9 limits");
  for (let at = 1; at < limits.length; at++) {
    const isRepeated = limits.findIndex((limit) => limit.name === limits[at]!.name) < at;
    assert(!isRepeated, "names of limits are distinct");
  }
  const isLimiting = (limit: NamedLimit) => limit.perMinute !== undefined || limit.perDay !== undefined;
  return limits.every(isLimiting) ? limits : limits.filter(isLimiting);
}
