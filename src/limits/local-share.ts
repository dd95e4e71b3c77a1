import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { ForgottenLimits } from "./forgotten-limits.ts";
import type { LimitDecision, LimitRequest, NamedLimit, WindowStatus } from "./limit.ts";
import { MemoryLimitStore } from "./memory-limit-store.ts";
import { UntoldCounts } from "./untold-counts.ts";

export interface LocalShareDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Number of processes of the service on all machines together; the share of each is ceil(L / processes). */
  readonly processes: number;
}

/**
 * The wait of a denied call whose cost is above the share but not above the limit: the store may be reachable by then.
 */
const STORE_MAY_BE_BACK_MS = 1_000;

const NOTHING: readonly LimitRequest[] = Object.freeze([]);

/** Decides while the shared store is unreachable: in this process alone, with its share of every limit. */
export class LocalShare {
  readonly #store: MemoryLimitStore;
  readonly #processes: number;
  readonly #forgotten: ForgottenLimits;
  readonly #untold = new UntoldCounts();
  /** Number of requests decided here. */
  decided = 0;

  constructor(deps: LocalShareDeps) {
    this.#forgotten = new ForgottenLimits({ ...deps, advice: "it ends when Redis is back" });
    this.#store = new MemoryLimitStore({ clock: deps.clock, onForgotten: () => this.#forgotten.note() });
    this.#processes = deps.processes;
  }

  /**
   * As Limiter.decide, always `degraded`. `limit` of a window is the whole limit; `remaining` is what remains of the
   * share.
   *
   * @param isUnknownToStore whether the store certainly did not count the request, so that it must be told of it
   */
  decide(request: LimitRequest, isUnknownToStore: boolean): LimitDecision {
    return this.decideTogether([request], isUnknownToStore)[0]!;
  }

  /** As `decide` for requests that are counted together or not at all. */
  decideTogether(requests: readonly LimitRequest[], isUnknownToStore: boolean): readonly LimitDecision[] {
    this.decided += requests.length;
    const ofShare = requests.map((request) => ({
      ...request,
      limits: request.limits.map((one) => this.#shareOf(one)),
    }));
    const decisions = this.#store.decideTogether(ofShare);
    if (isUnknownToStore && decisions.every(({ allowed }) => allowed)) {
      for (const request of requests) if (request.cost > 0) this.keepUntold(request);
    }
    return decisions.map((decision, at) => degraded(decision, requests[at]!));
  }

  /**
   * Requests that tell the store what it must know before it is asked about these limits. They count what this process
   * admitted under the same limits without the store, at most what it counted in the last minute.
   *
   * Each count is returned once; the local share stays used up. Only counts of the limits in the request are returned,
   * even if the subject has many more.
   */
  untold({ subject, limits }: LimitRequest): readonly LimitRequest[] {
    const counted = this.#untold.take(subject, limits);
    if (counted.length === 0) return NOTHING;
    const byCost = Map.groupBy(counted, ({ name, cost }) => Math.min(cost, this.#store.minuteTotal(subject, name)));
    byCost.delete(0);
    return [...byCost].map(([cost, names]) => ({
      subject,
      cost,
      limits: names.map(({ name }) => ({ name, perMinute: undefined, perDay: undefined })),
      admitted: true,
    }));
  }

  /** Keeps the cost of an admitted request that the store has not counted. */
  keepUntold({ subject, cost, limits }: LimitRequest): void {
    for (const { name } of limits) this.#untold.add(subject, name, cost);
  }

  /** As Limiter.forgottenLimits. */
  get forgotten(): number {
    return this.#forgotten.count;
  }

  reset(subject: string, names: readonly string[]): Promise<void> {
    this.#untold.take(subject, [{ name: "" }, ...names.map((name) => ({ name }))]);
    return this.#store.reset(subject, names);
  }

  #shareOf({ name, perMinute, perDay }: NamedLimit): NamedLimit {
    const share = (figure: number | undefined) => figure && Math.ceil(figure / this.#processes);
    return { name, perMinute: share(perMinute), perDay: share(perDay) };
  }
}

/** A decision about the share of a request's limits, as one about the limits themselves. */
function degraded({ allowed, retryAfterMs, windows }: LimitDecision, request: LimitRequest): LimitDecision {
  const waits = !allowed && retryAfterMs === undefined && !isAboveALimit(request);
  return {
    allowed,
    retryAfterMs: waits ? STORE_MAY_BE_BACK_MS : retryAfterMs,
    windows: withFigures(windows, request.limits),
    degraded: true,
  };
}

function isAboveALimit({ cost, limits }: LimitRequest): boolean {
  return limits.some(({ perMinute, perDay }) => cost > (perMinute ?? cost) || cost > (perDay ?? cost));
}

/** Statuses come in the order of the limits, the minute before the day. */
function withFigures(windows: readonly WindowStatus[], limits: readonly NamedLimit[]): WindowStatus[] {
  const figures = limits.flatMap(({ perMinute, perDay }) => [perMinute, perDay]).filter((one) => one !== undefined);
  return windows.map((window, at) => ({ ...window, limit: figures[at]! }));
}
