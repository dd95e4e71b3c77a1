/**
 * RATE LIMITS. A caller of this room names a subject and the limits that one call must meet. The limiter decides all of
 * them together, all or nothing, and reports the state of each window after the decision.
 *
 *   limit.ts               requests, limits and decisions
 *   limiter.ts             the limiter over a store that processes share
 *   local-limiter.ts       the limiter of one process without a shared store
 *   full-windows.ts        cache of denials, which are answered without asking the store
 *   store-part.ts          group commit, the timeout of 50 ms, and the probes while a part of the store is unreachable
 *   breaker.ts             the circuit breaker of a store part
 *   local-share.ts         decides in this process alone while the store is unreachable
 *   untold-counts.ts       counts of that time that the store must be told later
 *   limit-store.ts         what the limiter needs from a place that keeps windows; `redis/` implements it too
 *   memory-limit-store.ts  windows in the memory of this process
 *   limit-counts.ts        counts of decisions by mode, and of the sizes of groups
 *   forgotten-limits.ts    warns when that memory has no room for all limits in use
 *   window.ts              the arithmetic of one window, no I/O
 *
 * The room knows nothing of keys, tiers or people: a subject is just a text.
 */
import assert from "node:assert/strict";
import type { LimitCounts } from "./limit-counts.ts";

/**
 * The figures of one limit: the maximum cost in any interval of a minute or a day. `undefined` means that the window is
 * neither judged nor reported; 0 allows nothing. A limit with one figure is counted in both windows, because the
 * figures are not part of a window. A limit without figures is no limit and is counted nowhere.
 */
export interface LimitFigures {
  readonly perMinute: number | undefined;
  readonly perDay: number | undefined;
}

/** One limit that a call must meet. Its windows are identified by (subject, name, length), never by the figures. */
export interface NamedLimit extends LimitFigures {
  /** Empty for the subject's own limit; otherwise 1 to 64 characters of `[a-z0-9._/-]`. */
  readonly name: string;
}

/** One call: it is counted in all windows of all its limits, or in none. */
export interface LimitRequest {
  /** Any text up to 300 bytes. Keys in Redis contain only its digest. */
  readonly subject: string;
  /**
   * How much the call uses up: an integer, never negative. A cost of 0 only reads the windows: it counts nothing and is
   * always allowed.
   */
  readonly cost: number;
  /** At most 9, with distinct names. */
  readonly limits: readonly NamedLimit[];
  /**
   * True if the call has happened already. Then it is always allowed, and counted also beyond the figures: `remaining`
   * is 0, and later calls are denied until the windows have room again.
   */
  readonly admitted?: boolean;
  /**
   * True if the next request of a store's group is of the same run: a run is counted as a whole or not at all. Only the
   * limiter sets it; see `Limiter.decideTogether`.
   */
  readonly goesOn?: boolean;
}

/** The state of one window after a decision. */
export interface WindowStatus {
  readonly name: string;
  readonly lengthMs: number;
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** Time until `remaining` equals `limit`, if no call follows. */
  readonly resetAfterMs: number;
}

export interface LimitDecision {
  readonly allowed: boolean;
  /**
   * For a denied call: the exact time after which it would be allowed if no other call came; 1 ms earlier it would not.
   * `undefined` for allowed calls, and if no wait helps because the cost is above a limit. If `degraded`, the time is
   * for this process's share of the limits; a cost above the share but not above the limit gets 1 s.
   */
  readonly retryAfterMs: number | undefined;
  /** In the order of the request's limits, the minute before the day. Windows without a figure are left out. */
  readonly windows: readonly WindowStatus[];
  /** True if this process decided alone because the shared store was unreachable. */
  readonly degraded: boolean;
}

/**
 * The door of this room. An unreachable store never fails a decision: within 60 ms the limiter answers alone, with
 * `degraded` set. A process that knows a window to be full denies from memory. So lost data of the store, or a reset in
 * another process of which this one is not told, may take effect up to 5 s later.
 */
export interface Limiter {
  /** Returns the decision itself, not a promise, if the store need not be asked. */
  decide(request: LimitRequest): LimitDecision | Promise<LimitDecision>;
  /** Decides in order; a later request of the same subject sees the counts of an earlier one. */
  decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /**
   * Decides requests that belong to one call: all of them are counted, or none. Each decision says whether its own
   * request has room, after the requests before it; nothing is counted unless every decision is `allowed`. The store is
   * asked also about windows that this process knows to be full.
   *
   * In a Redis Cluster the windows of different subjects are on different nodes. There each request is counted by
   * itself, in order, as by `decideAll`.
   *
   * @param requests at most 64
   */
  decideTogether(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /**
   * Empties the subject's own windows and those of the given names.
   *
   * @throws LIMITS_UNAVAILABLE when the store is unreachable, because the caller must know that nothing was reset
   */
  reset(subject: string, names: readonly string[]): Promise<void>;
  /** Forgets the remembered denials of a subject, so that the store is asked again. All counts stay. */
  forget(subject: string): void;
  /** Forgets all remembered denials. */
  forgetAll(): void;
  /** Whether some subjects get only degraded decisions now. */
  isDegraded(): boolean;
  /** Number of limits in use that this process forgot since its start, because memory had no room. */
  forgottenLimits(): number;
  /** Number of degraded decisions since the start, including those before the store counted as unreachable. */
  degradedDecisions(): number;
  /** Its decisions and groups since its start. */
  readonly counts: LimitCounts;
  /** Ends the work in the background. */
  close(): void;
}

/** The decision for a request without limits. */
export const NOT_LIMITED: LimitDecision = Object.freeze({
  allowed: true,
  retryAfterMs: undefined,
  windows: Object.freeze([]),
  degraded: false,
});

const MAX_LIMITS = 9;
/** Maximum requests of one run. It bounds how much longer a run makes a group of the store. */
export const MAX_RUN = 64;

/** The limits of a request that have a figure. Asserts what a store relies on. */
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

/** Decides those of some requests that have a limit with a figure. The others are allowed, in their places. */
export async function withoutUnlimited(
  requests: readonly LimitRequest[],
  decide: (limited: readonly LimitRequest[]) => Promise<readonly LimitDecision[]>,
): Promise<readonly LimitDecision[]> {
  assert(requests.length <= MAX_RUN, "at most 64 requests in a run");
  const judged = requests.map((request) => ({ ...request, limits: limitsWithFigures(request) }));
  const limited = judged.filter(({ limits }) => limits.length > 0);
  const decisions = limited.length === 0 ? [] : await decide(limited);
  let at = 0;
  return judged.map(({ limits }) => (limits.length === 0 ? NOT_LIMITED : decisions[at++]!));
}
