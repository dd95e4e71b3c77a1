import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";

export interface FaultyRoutesDeps {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly log: Pick<Log, "warn">;
}

/** Different faults that are told in one period. */
const MAX_TOLD = 8;
const PERIOD_MS = 600_000;

/**
 * Tells the log of routes whose settings are wrong: each fault at most once in 10 minutes, and at most 8 of them,
 * because each request of such a route finds the fault again.
 */
export class FaultyRoutes {
  readonly #deps: FaultyRoutesDeps;
  readonly #told = new Set<string>();
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(deps: FaultyRoutesDeps) {
    this.#deps = deps;
  }

  note(faults: readonly string[]): void {
    const { clock, log } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#sinceMs >= PERIOD_MS) {
      this.#sinceMs = nowMs;
      this.#told.clear();
    }
    const [first = "", ...others] = faults;
    if (this.#told.size >= MAX_TOLD || this.#told.has(first)) return;
    this.#told.add(first);
    log.warn("an Envoy route's context_extensions are wrong, so all its requests are refused", {
      fault: first,
      others: others.length,
    });
  }
}
