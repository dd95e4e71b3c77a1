import type { Timers } from "../lib/clock.ts";
import type { Histogram } from "../lib/histogram.ts";
import { whenSilent } from "../lib/when-silent.ts";
import { Breaker } from "./breaker.ts";
import type { LimitDecision, LimitRequest } from "./limit.ts";
import { type LimitStore, LimitStoreError } from "./limit-store.ts";

export interface StorePartDeps {
  readonly store: LimitStore;
  /** As in `LimitStore.partOf`. */
  readonly part: string;
  readonly timers: Timers;
  /** Counts the sizes of the groups that are sent. */
  readonly groups?: Histogram;
  /** Called when the part has become unreachable, and once for each further reason in the same outage. */
  readonly onUnreachable: (part: string, cause: unknown) => void;
  /** Called when the part is reachable again. */
  readonly onBack: (part: string) => void;
}

/** Timeout of one call to the store. */
const SILENCE_MS = 50;
/** While a part is unreachable: the time between two probes. */
const PROBE_EVERY_MS = 250;
/** After every 8 failed probes the connection to the part is renewed. */
const PROBES_PER_RENEWAL = 8;
/**
 * Maximum requests in a group, besides the rest of a run that began in it. It bounds how long a group keeps the store
 * from serving others: 0.8 ms at 6 us a request.
 */
const MAX_GROUP = 128;
/** The name of the limit that probes count in. A caller's limit can't have it, because its name may not contain "~". */
const PROBE_NAME = "~probe";
const NOT_COUNTED = "not counted";
const SILENT_ADVICE = "the store does not answer within 50 ms; look at its load, its slow log and the network";

/** The answer for a request without a decision: the store did not count it, or may have counted it. */
export type Undecided = "not counted" | "may be counted";

interface Waiting {
  readonly request: LimitRequest;
  /** True if a caller waits for the decision; false if the store is only told of a count. */
  readonly isAsked: boolean;
  readonly resolve: (answer: LimitDecision | Undecided) => void;
}

/**
 * One part of a store behind request batching (group commit) and a circuit breaker. All requests of one event-loop tick
 * go to the store as one group, because a round trip and a script call cost more than a decision. Requests that the
 * store can't decide together go as several groups, so that a group that fails degrades no other.
 */
export class StorePart {
  readonly #deps: StorePartDeps;
  readonly #breaker = new Breaker();
  #waiting: Waiting[] = [];
  #cancelProbe: () => void = () => {};
  #probesInVain = 0;
  /** Codes already reported in this outage. */
  readonly #toldCodes = new Set<string>();
  #isClosed = false;

  constructor(deps: StorePartDeps) {
    this.#deps = deps;
  }

  get isUnreachable(): boolean {
    return this.#breaker.isOpen;
  }

  /**
   * Asks the store, in the order of calls. Resolves to an `Undecided` if the store is unreachable: after an error,
   * after 50 ms without an answer, or without asking while the breaker is open.
   */
  decide(request: LimitRequest): Promise<LimitDecision | Undecided> {
    return this.#enqueue(request, true);
  }

  /** As `decide` for a run of requests; all must have the same group. */
  decideTogether(requests: readonly LimitRequest[]): Promise<readonly (LimitDecision | Undecided)[]> {
    const last = requests.length - 1;
    return Promise.all(requests.map((request, at) => this.#enqueue({ ...request, goesOn: at < last }, true)));
  }

  /**
   * Tells the store what was admitted without it, before the requests that follow. The breaker ignores the outcome,
   * because no caller waits for it.
   */
  tell(request: LimitRequest): Promise<LimitDecision | Undecided> {
    return this.#enqueue(request, false);
  }

  #enqueue(request: LimitRequest, isAsked: boolean): Promise<LimitDecision | Undecided> {
    const { promise, resolve } = Promise.withResolvers<LimitDecision | Undecided>();
    if (this.#waiting.length === 0) this.#deps.timers.nextTurn(() => this.#commit());
    this.#waiting.push({ request, isAsked, resolve });
    return promise;
  }

  /** Ends the probes. */
  close(): void {
    this.#isClosed = true;
    this.#cancelProbe();
  }

  #commit(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const groups = Map.groupBy(waiting, ({ request }) => this.#deps.store.groupOf(request.subject));
    for (const group of groups.values()) {
      for (let at = 0; at < group.length; ) {
        const end = endOfRun(group, at + MAX_GROUP);
        void this.#decideGroup(group.slice(at, end));
        at = end;
      }
    }
  }

  async #decideGroup(group: readonly Waiting[]): Promise<void> {
    const answer = this.isUnreachable ? NOT_COUNTED : await this.#ask(group);
    for (const [at, one] of group.entries()) one.resolve(typeof answer === "string" ? answer : answer[at]!);
  }

  async #ask(group: readonly Waiting[]): Promise<readonly LimitDecision[] | Undecided> {
    const isAsked = group.some((one) => one.isAsked);
    const requests = group.map(({ request }) => request);
    this.#deps.groups?.observe(group.length);
    try {
      const decisions = await unlessSilent(this.#deps.timers, this.#deps.store.decide(requests));
      if (isAsked) this.#breaker.record(false);
      return decisions;
    } catch (cause) {
      if (isAsked && this.#breaker.record(true)) this.#giveUp(cause, requests[0]!.subject);
      return cause instanceof LimitStoreError && cause.countedNothing ? NOT_COUNTED : "may be counted";
    }
  }

  #giveUp(cause: unknown, subject: string): void {
    this.#probesInVain = 0;
    this.#tellOf(cause);
    this.#probeLater(subject);
  }

  #tellOf(cause: unknown): void {
    const code = cause instanceof LimitStoreError ? cause.code : "";
    if (this.#toldCodes.has(code)) return;
    this.#toldCodes.add(code);
    this.#deps.onUnreachable(this.#deps.part, cause);
  }

  #probeLater(subject: string): void {
    if (this.#isClosed) return;
    this.#cancelProbe = this.#deps.timers.after(PROBE_EVERY_MS, () => void this.#probe(subject));
  }

  /**
   * Probes by counting, as any call does: a store may answer a ping and still refuse to count (read-only, full,
   * loading).
   */
  async #probe(subject: string): Promise<void> {
    const limits = [{ name: PROBE_NAME, perMinute: undefined, perDay: undefined }];
    try {
      await unlessSilent(this.#deps.timers, this.#deps.store.decide([{ subject, cost: 1, limits }]));
    } catch (cause) {
      this.#tellOf(cause);
      this.#probesInVain++;
      if (this.#probesInVain % PROBES_PER_RENEWAL === 0) this.#deps.store.renew(this.#deps.part);
      return this.#probeLater(subject);
    }
    this.#breaker.close();
    this.#toldCodes.clear();
    this.#deps.onBack(this.#deps.part);
  }
}

/** The first place at or after `at` where a group can be divided, because no run goes on there. */
function endOfRun(group: readonly Waiting[], at: number): number {
  let end = at;
  while (group[end - 1]?.request.goesOn) end++;
  return end;
}

/** The answer of the store. Rejects with SILENT after SILENCE_MS without one. */
export function unlessSilent<T>(timers: Timers, answer: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = () => reject(new LimitStoreError("SILENT", SILENT_ADVICE, { countedNothing: false }));
  whenSilent(answer, SILENCE_MS, giveUp, timers);
  answer.then(resolve, reject);
  return promise;
}
