/**
 * RATE LIMITS. A caller of this room names a subject and the limits that one call must meet; the limiter decides all of
 * them together, all or nothing, and says how the windows stand then.
 *
 *   limiter.ts             what the other rooms call: group commit, local denial, breaker, in-process fallback
 *   window.ts              the arithmetic of one window, no I/O
 *   limit-store.ts         what the limiter needs of a place that keeps windows
 *   memory-limit-store.ts  windows in this process
 *
 * The room knows nothing of keys, tiers or people: a subject is a text.
 */

/** Lengths of the two windows that a limit may have. */
export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

/** The figures of one limit. `undefined` means no such window, 0 means that nothing is allowed. */
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
  /** How much the call takes: 0 looks without counting and is always allowed. An integer. */
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
   * `undefined` when it never will be, because the cost is above a limit, and for allowed calls.
   */
  readonly retryAfterMs: number | undefined;
  /** In the order of the request's limits, the minute before the day; windows without a figure are left out. */
  readonly windows: readonly WindowStatus[];
  /** Decided by this process alone because the shared store was out of reach. */
  readonly degraded: boolean;
}

/** What other rooms see of this one. Never throws for a store that is out of reach: it degrades. */
export interface Limiter {
  decide(request: LimitRequest): Promise<LimitDecision>;
  /** Decides in order; a later request sees what an earlier one of the same subject has counted. */
  decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /** Empties the subject's own windows and those of the names given. */
  reset(subject: string, names: readonly string[]): Promise<void>;
}
