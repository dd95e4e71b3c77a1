import type { AgeClock } from "../lib/clock.ts";

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
