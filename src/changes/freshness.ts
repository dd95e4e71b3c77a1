import type { AgeClock } from "../lib/clock.ts";

/** Oldest knowledge that is used while the database can be asked. */
export const FRESH_MS = 5000;

/**
 * Whether what was true at a time may be used without asking. After this machine was suspended nothing may that was known
 * before, however short that was: the database's time is not known either, until it answers.
 *
 * @param asOfMs by `clock.elapsedMs`
 */
export function isFresh(clock: AgeClock, asOfMs: number): boolean {
  // Asked first: it notices the suspension.
  const elapsedMs = clock.elapsedMs();
  return elapsedMs - asOfMs < FRESH_MS && asOfMs >= clock.skippedAtMs;
}
