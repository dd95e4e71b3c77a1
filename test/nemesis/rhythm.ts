/** When a run draws faults: storms, with a calm after each one. Pure. */

/** All times are of the run. */
export interface Rhythm {
  readonly stormMs: number;
  /** Time without a fault after each storm; long enough to judge whether all processes answer again. */
  readonly calmMs: number;
  /** From this time on no fault ends a process, so that the memory of each shows whether it grows. */
  readonly keepsProcessesFromMs: number;
}

/** One storm without an end. */
export const STEADY: Rhythm = {
  stormMs: Number.POSITIVE_INFINITY,
  calmMs: 0,
  keepsProcessesFromMs: Number.POSITIVE_INFINITY,
};

/** @returns how long the storm still lasts; 0 or less in a calm, whose time left is its amount */
export function stormLeftMs({ stormMs, calmMs }: Rhythm, elapsedMs: number): number {
  if (stormMs === Number.POSITIVE_INFINITY) return stormMs;
  const atMs = elapsedMs % (stormMs + calmMs);
  return atMs < stormMs ? stormMs - atMs : atMs - stormMs - calmMs;
}
