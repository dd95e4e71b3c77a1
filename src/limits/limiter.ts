import { type Clock, systemTimers, type Timers } from "../lib/clock.ts";
import { DomainError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { FullWindows } from "./full-windows.ts";
import { type LimitDecision, type Limiter, type LimitRequest, limitsWithFigures, NOT_LIMITED } from "./limit.ts";
import { type LimitStore, LimitStoreError } from "./limit-store.ts";
import { LocalShare } from "./local-share.ts";
import { StorePart, type Undecided, unlessSilent } from "./store-part.ts";

export interface SharedLimiterDeps {
  /** Where all processes count together. */
  readonly store: LimitStore;
  readonly clock: Clock;
  /** The system's, but where a simulation has its own time. */
  readonly timers?: Timers;
  readonly log: Log;
  /** How many machines run the service, and how many processes each: while the store is away each takes its share. */
  readonly replicas: number;
  readonly workers: number;
}

/** Parts come and go with the nodes of a cluster; this is more than any cluster has. */
const MAX_PARTS = 1_024;

/**
 * The limiter over a store that other processes share.
 *
 * A request is answered, in this order, from the windows known to be full; by the store, in a group with all that wait
 * in the same turn of the event loop; or, where the store is out of reach, by this process alone with its share of each
 * limit and `degraded` set. What it admitted so in the last minute the store is told when it is asked about the same limits
 * again. So in any minute that touches an outage at most (replicas * workers + 1) * L are admitted, also where the store
 * comes back empty; L more where it left calls unanswered before, since those may have been counted and are not told; and L
 * more for each time that it is emptied beside. See ADR 4.
 */
export class SharedLimiter implements Limiter {
  readonly #deps: SharedLimiterDeps;
  readonly #timers: Timers;
  readonly #parts = new Map<string, StorePart>();
  readonly #full = new FullWindows();
  readonly #share: LocalShare;

  constructor(deps: SharedLimiterDeps) {
    this.#deps = deps;
    this.#timers = deps.timers ?? systemTimers;
    this.#share = new LocalShare({ clock: deps.clock, log: deps.log, processes: deps.replicas * deps.workers });
  }

  decide(request: LimitRequest): LimitDecision | Promise<LimitDecision> {
    const limits = limitsWithFigures(request);
    if (limits.length === 0) return NOT_LIMITED;
    const judged = limits.length === request.limits.length ? request : { ...request, limits };
    return this.#full.find(judged, this.#deps.clock.monotonicMs()) ?? this.#ask(judged);
  }

  async #ask(judged: LimitRequest): Promise<LimitDecision> {
    const part = this.#partOf(judged.subject);
    const { generation } = this.#full;
    const answer = part.isOutOfReach ? "not counted" : await this.#askStore(part, judged);
    if (typeof answer === "string") return this.#share.decide(judged, answer === "not counted");
    this.#full.remember(judged, answer, this.#deps.clock.monotonicMs(), generation);
    return answer;
  }

  /** In one group: what was admitted of these limits while the store was away, and what is asked now. */
  #askStore(part: StorePart, judged: LimitRequest): Promise<LimitDecision | Undecided> {
    for (const untold of this.#share.untold(judged)) {
      void part.tell(untold).then((told) => told === "not counted" && this.#share.keepUntold(untold));
    }
    return part.decide(judged);
  }

  decideAll(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    return Promise.all(requests.map((request) => this.decide(request)));
  }

  async reset(subject: string, names: readonly string[]): Promise<void> {
    try {
      await unlessSilent(this.#timers, this.#deps.store.reset(subject, names));
    } catch (cause) {
      throw limitsUnavailable(cause);
    }
    await this.#share.reset(subject, names);
    // Last, and it makes denials that were asked for before, and come later, be forgotten as well.
    this.#full.forget(subject);
  }

  /** Whether some part of the store is out of reach now, so that its subjects' decisions are degraded. */
  isDegraded(): boolean {
    return [...this.#parts.values()].some((part) => part.isOutOfReach);
  }

  forgottenLimits(): number {
    return this.#share.forgotten;
  }

  degradedDecisions(): number {
    return this.#share.decided;
  }

  /** Ends what runs in the background. The store is the caller's to close. */
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
      onOutOfReach: (part, cause) =>
        this.#deps.log.warn("the limit store is unreachable, limits are judged by this process alone", {
          part,
          ...reasonOf(cause),
        }),
      onBack: (part) => this.#deps.log.info("limit store is back", { part }),
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

function limitsUnavailable(cause: unknown): DomainError {
  const message = "the store of rate limits is out of reach, nothing was reset; try again";
  return new DomainError("LIMITS_UNAVAILABLE", message, { retryAfterMs: 1000, cause });
}

/** Never text that a store sent, which may quote values. */
function reasonOf(cause: unknown): { readonly cause: string; readonly advice?: string } {
  if (cause instanceof LimitStoreError) return { cause: cause.code, advice: cause.advice };
  return { cause: cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.name) : "unknown" };
}
