import type { LimitDecision, LimitRequest } from "./limit.ts";

/** What a store throws where it knows more than that it made no decision. */
export class LimitStoreError extends Error {
  override readonly name = "LimitStoreError";
  /** One word from a closed list, such as READONLY or ECONNREFUSED. */
  readonly code: string;
  /** For the operator: what to do. */
  readonly advice: string;
  /** True where nothing of the group was counted, for certain. */
  readonly countedNothing: boolean;

  constructor(code: string, advice: string, facts: { readonly countedNothing: boolean; readonly cause?: unknown }) {
    super(`${code}: ${advice}`, { cause: facts.cause });
    this.code = code;
    this.advice = advice;
    this.countedNothing = facts.countedNothing;
  }
}

/**
 * A place that keeps windows, such as this process or Redis. For its implementer:
 *
 * - A group of requests is decided in order, at one moment, with nothing else in between; a later request sees what an
 *   earlier one counted. A request is counted in both windows of each of its limits, or nowhere: it is denied if any
 *   window with a figure has no room, and a denied one costs nothing.
 * - The windows are those of `window.ts`, in whole milliseconds by the store's own clock: where processes share a
 *   store, their clocks play no part.
 * - A window is (subject, name, length). The figures are not part of it, and a window without a figure is counted too:
 *   services that share a name may each bring another figure, and one that is set later finds what was used.
 * - What is absent is an empty window. Whatever holds nothing any more is forgotten, and memory has a bound.
 * - `degraded` is false in every decision; it is the limiter's word.
 */
export interface LimitStore {
  /**
   * Which part of the store keeps a subject. Parts fail independently; a store that fails as a whole has one, "". Cheap,
   * without I/O; the answer may change over time.
   */
  partOf(subject: string): string;
  /**
   * What of its part a subject is decided with: requests of one part and of one such group may come together, any others
   * each fail for themselves. "" where all of a part may. Cheap, without I/O; the answer may never change.
   */
  groupOf(subject: string): string;
  /**
   * Decides a group; all its subjects are in one part, and have one `groupOf`. As many decisions as requests, in their order.
   *
   * @throws LimitStoreError, or any other error, when no decision was reached; except where that says otherwise, it is
   *   unknown whether the group was counted
   */
  decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]>;
  /**
   * Empties the windows of the subject's own limit (name "") and of those named.
   *
   * @throws when the store is out of reach
   */
  reset(subject: string, names: readonly string[]): Promise<void>;
  /** The part has not answered for seconds: drop what may be a dead connection to it and begin anew. */
  renew(part: string): void;
}
