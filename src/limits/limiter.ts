import { type AgeClock, systemTimers, type Timers } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { FullWindows } from "./full-windows.ts";
import {
  type LimitDecision,
  type Limiter,
  type LimitRequest,
  limitsWithFigures,
  NOT_LIMITED,
  withoutUnlimited,
} from "./limit.ts";
import { LimitCounts } from "./limit-counts.ts";
import { type LimitStore, LimitStoreError } from "./limit-store.ts";
import { LocalShare } from "./local-share.ts";
import { StorePart, type Undecided, unlessSilent } from "./store-part.ts";

export interface SharedLimiterDeps {
  /** The store in which all processes count together. */
  readonly store: LimitStore;
  readonly clock: AgeClock;
  /** Default: the system's. A simulation passes its own time. */
  readonly timers?: Timers;
  readonly log: Log;
  /**
   * Number of machines that run the service; `workers` is the number of processes on each. While the store is
   * unreachable, each process decides with its share of each limit.
   */
  readonly replicas: number;
  readonly workers: number;
}

/** Maximum store parts kept. Parts come and go with the nodes of a cluster; no cluster has that number of nodes. */
const MAX_PARTS = 1_024;

/**
 * The limiter over a store that several processes share. These answer a request, in this order:
 *
 * - The cache of denials (FullWindows), if it knows one of the windows to be full.
 * - The store, in one group with all requests of the same event-loop tick.
 * - If the store is unreachable, this process alone, with its share of each limit and `degraded` set. With its next
 *   request for the same limits it tells the store what it admitted alone in the last minute.
 *
 * So in any minute that touches an outage, a limit L admits at most (replicas * workers + 1) * L, even if the store
 * comes back empty. Two events raise this bound:
 *
 * - The store left calls unanswered before the outage: up to L more. It may have counted them, so it is not told of
 *   them.
 * - The store loses its data once more: up to L more each time.
 *
 * See ADR 4.
 */
export class SharedLimiter implements Limiter {
  readonly #deps: SharedLimiterDeps;
  readonly #timers: Timers;
  readonly #parts = new Map<string, StorePart>();
  readonly #full = new FullWindows();
  readonly #share: LocalShare;
  readonly counts = new LimitCounts();

  constructor(deps: SharedLimiterDeps) {
    this.#deps = deps;
    this.#timers = deps.timers ?? systemTimers;
    this.#share = new LocalShare({ clock: deps.clock, log: deps.log, processes: deps.replicas * deps.workers });
  }

  decide(request: LimitRequest): LimitDecision | Promise<LimitDecision> {
    const limits = limitsWithFigures(request);
    if (limits.length === 0) return NOT_LIMITED;
    const judged = limits.length === request.limits.length ? request : { ...request, limits };
    const { clock } = this.#deps;
    // A denial from memory would lose the count of a call that has happened. `elapsedMs` is read first, because it
    // notices a suspension. The store is asked again about denials from before a suspension.
    const denial = judged.admitted ? undefined : this.#full.find(judged, clock.elapsedMs(), clock.skippedAtMs);
    return denial === undefined ? this.#ask(judged) : this.counts.decided("full_window", denial);
  }

  async #ask(judged: LimitRequest): Promise<LimitDecision> {
    const part = this.#partOf(judged.subject);
    const { generation } = this.#full;
    const answer = part.isUnreachable ? "not counted" : await this.#askStore(part, judged);
    if (typeof answer === "string") return this.#decideAlone([judged], answer === "not counted")[0]!;
    this.#full.remember(judged, answer, this.#deps.clock.elapsedMs(), generation);
    return this.counts.decided("redis", answer);
  }

  #askStore(part: StorePart, judged: LimitRequest): Promise<LimitDecision | Undecided> {
    this.#tellUntold(part, judged);
    return part.decide(judged);
  }

  /**
   * Tells the store what was admitted of these limits while it was unreachable, in the same group as the request that
   * follows.
   */
  #tellUntold(part: StorePart, judged: LimitRequest): void {
    for (const untold of this.#share.untold(judged)) {
      void part.tell(untold).then((told) => told === "not counted" && this.#share.keepUntold(untold));
    }
  }

  /** Decides with this process's share. */
  #decideAlone(requests: readonly LimitRequest[], isUnknownToStore: boolean): readonly LimitDecision[] {
    return this.counts.decidedAll("degraded", this.#share.decideTogether(requests, isUnknownToStore));
  }

  decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    return Promise.all(requests.map((request) => this.decide(request)));
  }

  decideTogether(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    return withoutUnlimited(requests, (judged) =>
      this.#canRun(judged) ? this.#askTogether(judged) : this.decideAll(judged),
    );
  }

  /** Whether the store can count all of the requests at once. One request needs no run. */
  #canRun(requests: readonly LimitRequest[]): boolean {
    const { store } = this.#deps;
    const placeOf = ({ subject }: LimitRequest) => `${store.partOf(subject)} ${store.groupOf(subject)}`;
    return requests.length > 1 && requests.every((request) => placeOf(request) === placeOf(requests[0]!));
  }

  async #askTogether(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const part = this.#partOf(requests[0]!.subject);
    if (part.isUnreachable) return this.#decideAlone(requests, true);
    for (const request of requests) this.#tellUntold(part, request);
    const answers = await part.decideTogether(requests);
    // A run is one request to the store, so that all of its answers are of one kind.
    const decisions = answers.filter((answer) => typeof answer !== "string");
    if (decisions.length === answers.length) return this.counts.decidedAll("redis", decisions);
    return this.#decideAlone(requests, answers.includes("not counted"));
  }

  async reset(subject: string, names: readonly string[]): Promise<void> {
    try {
      await unlessSilent(this.#timers, this.#deps.store.reset(subject, names));
    } catch (cause) {
      throw limitsUnavailable(cause);
    }
    await this.#share.reset(subject, names);
    // Last: it also discards denials that were asked for before the reset and arrive after it.
    this.#full.forget(subject);
  }

  forget(subject: string): void {
    this.#full.forget(subject);
  }

  forgetAll(): void {
    this.#full.forgetAll();
  }

  /** Whether some part of the store is unreachable now, so that the decisions for its subjects are degraded. */
  isDegraded(): boolean {
    return [...this.#parts.values()].some((part) => part.isUnreachable);
  }

  forgottenLimits(): number {
    return this.#share.forgotten;
  }

  degradedDecisions(): number {
    return this.#share.decided;
  }

  /** Ends the work in the background. The caller closes the store. */
  close(): void {
    for (const part of this.#parts.values()) part.close();
  }

  #partOf(subject: string): StorePart {
    const name = this.#deps.store.partOf(subject);
    const known = this.#parts.get(name);
    if (known !== undefined) return known;
    const part = new StorePart({
      store: this.#deps.store,
      part: name,
      timers: this.#timers,
      groups: this.counts.groups,
      onUnreachable: (part, cause) => tellUnreachable(this.#deps.log, { part, ...reasonOf(cause) }),
      onBack: (part) => this.#deps.log.info("Redis is reachable again: limits are judged together", { part }),
    });
    this.#dropOldestPart();
    this.#parts.set(name, part);
    return part;
  }

  #dropOldestPart(): void {
    if (this.#parts.size < MAX_PARTS) return;
    const [name, part] = this.#parts.entries().next().value!;
    part.close();
    this.#parts.delete(name);
  }
}

/** Logs that the limit store does not answer. */
export function tellUnreachable(log: Log, fields: Readonly<Record<string, string>> = {}): void {
  log.warn("Redis is unreachable: this process judges limits alone", fields);
}

function limitsUnavailable(cause: unknown): DomainError {
  const message = "the store of rate limits is unreachable; nothing was reset; try again";
  return new DomainError("LIMITS_UNAVAILABLE", message, { retryAfterMs: 1000, cause });
}

/** The cause as log fields. It never contains text from the store, because such text may quote values. */
function reasonOf(cause: unknown): { readonly cause: string; readonly advice?: string } {
  if (cause instanceof LimitStoreError) return { cause: cause.code, advice: cause.advice };
  return { cause: cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.name) : "unknown" };
}
