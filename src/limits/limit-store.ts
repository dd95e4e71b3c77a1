import type { LimitDecision, LimitRequest } from "./limit.ts";

/** The error of a store that made no decision and knows the reason. */
export class LimitStoreError extends Error {
  override readonly name = "LimitStoreError";
  /** One word from a closed list, such as READONLY or ECONNREFUSED. */
  readonly code: string;
  /** Advice for the operator: what to do. */
  readonly advice: string;
  /** True if the store certainly counted nothing of the group. */
  readonly countedNothing: boolean;

  constructor(code: string, advice: string, facts: { readonly countedNothing: boolean; readonly cause?: unknown }) {
    super(`${code}: ${advice}`, { cause: facts.cause });
    this.code = code;
    this.advice = advice;
    this.countedNothing = facts.countedNothing;
  }
}

/**
 * A place that keeps windows, such as this process or Redis. The contract for its implementer:
 *
 * - The store decides a group of requests in order and atomically; a later request sees the counts of an earlier one.
 * - A request is counted in both windows of each of its limits, or in none. It is denied if any window with a figure
 *   has no room, and a denied request costs nothing. A request with `admitted` is never denied.
 * - Requests with `goesOn` and the request that follows them are a run. Each is judged as if those before it that have
 *   room were counted. If one is denied, none of the run is counted, and their statuses show that nothing was.
 * - A window that would hold more than MAX_TOTAL holds MAX_TOTAL.
 * - The windows are those of `window.ts`, in whole milliseconds of the store's own clock. If processes share a store,
 *   their own clocks play no part.
 * - A window is (subject, name, length). The figures are not part of it, and a window without a figure is counted too.
 *   So services that share a name may use different figures, and a figure that is set later finds the past counts.
 * - Absence means an empty window. The store forgets windows that hold no counts, and its memory is bounded.
 * - `degraded` is false in every decision; only the limiter sets it.
 */
export interface LimitStore {
  /**
   * The part of the store that keeps a subject. Parts fail independently. A store that can only fail as a whole has one
   * part, "". Cheap, without I/O. The answer may change over time.
   */
  partOf(subject: string): string;
  /**
   * The group of a subject, within its part: the store can decide the requests of one group together. Requests with the
   * same part and the same group may share one call; requests of different groups fail independently. "" if all
   * subjects of a part may share a call. Cheap, without I/O. The answer must never change.
   */
  groupOf(subject: string): string;
  /**
   * Decides a group of requests; all its subjects have the same part and the same `groupOf`. Returns one decision for
   * each request, in their order.
   *
   * @throws LimitStoreError, or any other error, if no decision was reached. Unless `countedNothing` is true, it is
   *   unknown whether the group was counted.
   */
  decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /**
   * Empties the windows of the subject's own limit (name "") and of the named limits.
   *
   * @throws when the store is unreachable
   */
  reset(subject: string, names: readonly string[]): Promise<void>;
  /**
   * Drops the connection to a part that has not answered for 2 s or more, because it may be dead, and connects again.
   */
  renew(part: string): void;
}
