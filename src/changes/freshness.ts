import type { AgeClock } from "../lib/clock.ts";
import type { FeedProof } from "./change.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";

/** The sources from which a cache learns the age of its copies. */
export interface AgeSources {
  readonly clock: AgeClock;
  /** Proves the time and the position as of which the copies are true. */
  readonly feed: FeedProof;
  readonly breaker: DatabaseBreaker;
}

/** Maximum age of a copy that is used without asking the database. */
export const FRESH_MS = 5000;

/**
 * Whether a copy that was true at a time may be used without asking the database. A copy from before a suspension of
 * this machine may not, however short the suspension was, because the copy's age is unknown.
 *
 * @param asOfMs by `clock.elapsedMs`
 */
export function isFresh(clock: AgeClock, asOfMs: number): boolean {
  // Read first, because it notices the suspension.
  const elapsedMs = clock.elapsedMs();
  return elapsedMs - asOfMs < FRESH_MS && asOfMs >= clock.skippedAtMs;
}

/** A moment of this process, by both of its clocks. */
export type Moment = Readonly<Record<"monotonicMs" | "elapsedMs", number>>;

/** Now, as a moment. */
export function momentOf(clock: AgeClock): Moment {
  return { elapsedMs: clock.elapsedMs(), monotonicMs: clock.monotonicMs() };
}

/**
 * The time from one moment to another, never too large; negative if the second one came first. The monotonic clock
 * lacks the time of a suspension, and `elapsedMs` may have too much of it. So the smaller of both counts.
 */
export function leastMsBetween(from: Moment, to: Moment): number {
  return Math.min(to.monotonicMs - from.monotonicMs, to.elapsedMs - from.elapsedMs);
}
