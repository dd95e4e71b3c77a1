import type { Clock } from "../lib/clock.ts";
import { type LimitDecision, type Limiter, type LimitRequest, limitsWithFigures, NOT_LIMITED } from "./limit.ts";
import { MemoryLimitStore } from "./memory-limit-store.ts";

export interface LocalLimiterDeps {
  readonly clock: Clock;
}

/**
 * The limiter of a service that is one process without Redis. Its windows are gone when the process is, and it is never
 * degraded, since nothing else counts.
 */
export class LocalLimiter implements Limiter {
  readonly #store: MemoryLimitStore;

  constructor(deps: LocalLimiterDeps) {
    this.#store = new MemoryLimitStore(deps);
  }

  async decide(request: LimitRequest): Promise<LimitDecision> {
    const [decision] = await this.decideAll([request]);
    return decision!;
  }

  async decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const judged = requests.map((request) => ({ ...request, limits: limitsWithFigures(request) }));
    const decisions = await this.#store.decide(judged);
    return decisions.map((decision, at) => (judged[at]!.limits.length === 0 ? NOT_LIMITED : decision));
  }

  reset(subject: string, names: readonly string[]): Promise<void> {
    return this.#store.reset(subject, names);
  }

  isDegraded(): boolean {
    return false;
  }

  close(): void {}
}
