import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { ForgottenLimits } from "./forgotten-limits.ts";
import {
  type LimitDecision,
  type Limiter,
  type LimitRequest,
  limitsWithFigures,
  NOT_LIMITED,
  withoutUnlimited,
} from "./limit.ts";
import { LimitCounts } from "./limit-counts.ts";
import { MemoryLimitStore } from "./memory-limit-store.ts";

export interface LocalLimiterDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** As in MemoryLimitStoreOptions. */
  readonly maxLimits?: number;
}

/**
 * The limiter of a service that runs as one process without Redis. The windows end with the process. This limiter is
 * never degraded, because no other process counts.
 */
export class LocalLimiter implements Limiter {
  readonly #store: MemoryLimitStore;
  readonly #forgotten: ForgottenLimits;
  readonly counts = new LimitCounts();

  constructor(deps: LocalLimiterDeps) {
    this.#forgotten = new ForgottenLimits({ ...deps, advice: "set REDIS_URL to count them in Redis" });
    this.#store = new MemoryLimitStore({ ...deps, onForgotten: () => this.#forgotten.note() });
  }

  decide(request: LimitRequest): LimitDecision {
    const limits = limitsWithFigures(request);
    if (limits.length === 0) return NOT_LIMITED;
    return this.counts.decided("memory", this.#store.decideOne({ ...request, limits }));
  }

  async decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    return requests.map((request) => this.decide(request));
  }

  async decideTogether(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    return withoutUnlimited(requests, async (judged) =>
      this.counts.decidedAll("memory", this.#store.decideTogether(judged)),
    );
  }

  reset(subject: string, names: readonly string[]): Promise<void> {
    return this.#store.reset(subject, names);
  }

  /** There is nothing to forget: each denial is decided again. */
  forget(): void {}

  forgetAll(): void {}

  isDegraded(): boolean {
    return false;
  }

  forgottenLimits(): number {
    return this.#forgotten.count;
  }

  degradedDecisions(): number {
    return 0;
  }

  close(): void {}
}
