import { Histogram, SIZES } from "../lib/histogram.ts";

/**
 * The parts that decide: Redis; the memory of a service without Redis; this process alone, because Redis did not
 * answer; or a window that this process knew to be full.
 */
export const LIMIT_MODES = ["redis", "memory", "degraded", "full_window"] as const;
export type LimitMode = (typeof LIMIT_MODES)[number];

/** The counts of a limiter since its start. A request without a limit is no decision, and is not counted. */
export class LimitCounts {
  /** Decisions by mode. */
  readonly decisions = Object.fromEntries(LIMIT_MODES.map((mode) => [mode, { admitted: 0, refused: 0 }])) as Readonly<
    Record<LimitMode, { admitted: number; refused: number }>
  >;
  /** Number of requests in each group that was sent to the store. */
  readonly groups = new Histogram(SIZES);

  /** Counts a decision, and returns it. */
  decided<D extends { readonly allowed: boolean }>(mode: LimitMode, decision: D): D {
    const counts = this.decisions[mode];
    if (decision.allowed) counts.admitted++;
    else counts.refused++;
    return decision;
  }

  /** Counts decisions, and returns them. */
  decidedAll<D extends { readonly allowed: boolean }>(mode: LimitMode, decisions: readonly D[]): readonly D[] {
    for (const decision of decisions) this.decided(mode, decision);
    return decisions;
  }
}
