import type { Timers } from "../lib/clock.ts";
import { Breaker } from "./breaker.ts";
import type { LimitDecision, LimitRequest } from "./limit.ts";
import { type LimitStore, LimitStoreError } from "./limit-store.ts";

export interface StorePartDeps {
  readonly store: LimitStore;
  /** As in `LimitStore.partOf`. */
  readonly part: string;
  readonly timers: Timers;
  /** The part went out of reach, or is so for another reason now. Called once for each reason of an outage. */
  readonly onOutOfReach: (part: string, cause: unknown) => void;
  /** The part is back. */
  readonly onBack: (part: string) => void;
}

/** A part that is silent for so long is out of reach. */
const SILENCE_MS = 50;
/** While it is: how often it is tried, and after how many trials in vain the connection is given up. */
const PROBE_EVERY_MS = 250;
const PROBES_PER_RENEWAL = 8;
/** Bounds what a group keeps a store from serving others: at 6 us each, 0.8 ms. */
const MAX_GROUP = 128;
/** In no caller's alphabet, so that what probes count meets nobody's limit. */
const PROBE_NAME = "~probe";
const NOT_COUNTED = "not counted";
const SILENT_ADVICE = "the store does not answer within 50 ms; look at its load, its slow log and the network";

/** What became of a request without a decision: the store has not counted it, or may have. */
export type Undecided = "not counted" | "may be counted";

interface Waiting {
  readonly request: LimitRequest;
  /** A caller waits for it; the store is only told of others. */
  readonly isAsked: boolean;
  readonly resolve: (answer: LimitDecision | Undecided) => void;
}

/**
 * One part of a store behind its group commit and its breaker. All requests that wait in one turn of the event loop go
 * as one group, because a round trip and a script's start cost more than a decision. Where the store can't decide them
 * together they go as several, and one that fails degrades none of the others.
 */
export class StorePart {
  readonly #deps: StorePartDeps;
  readonly #breaker = new Breaker();
  #waiting: Waiting[] = [];
  #cancelProbe: () => void = () => {};
  #probesInVain = 0;
  /** Reasons told of this outage. */
  readonly #toldCodes = new Set<string>();
  #isClosed = false;

  constructor(deps: StorePartDeps) {
    this.#deps = deps;
  }

  get isOutOfReach(): boolean {
    return this.#breaker.isOpen;
  }

  /**
   * Asks the store, in the order of calls. Without a decision when it is out of reach: at once while the breaker is open,
   * else after 50 ms of silence.
   */
  decide(request: LimitRequest): Promise<LimitDecision | Undecided> {
    return this.#enqueue(request, true);
  }

  /**
   * Tells the store of what was admitted without it, before what is asked after it. How that ends speaks neither for nor
   * against the part: no caller would have to do without it.
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

  /** Stops probing. */
  close(): void {
    this.#isClosed = true;
    this.#cancelProbe();
  }

  #commit(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const groups = Map.groupBy(waiting, ({ request }) => this.#deps.store.groupOf(request.subject));
    for (const group of groups.values()) {
      for (let at = 0; at < group.length; at += MAX_GROUP) void this.#decideGroup(group.slice(at, at + MAX_GROUP));
    }
  }

  async #decideGroup(group: readonly Waiting[]): Promise<void> {
    const answer = this.isOutOfReach ? NOT_COUNTED : await this.#ask(group);
    for (const [at, one] of group.entries()) one.resolve(typeof answer === "string" ? answer : answer[at]!);
  }

  async #ask(group: readonly Waiting[]): Promise<readonly LimitDecision[] | Undecided> {
    const isAsked = group.some((one) => one.isAsked);
    const requests = group.map(({ request }) => request);
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
    this.#deps.onOutOfReach(this.#deps.part, cause);
  }

  #probeLater(subject: string): void {
    if (this.#isClosed) return;
    this.#cancelProbe = this.#deps.timers.after(PROBE_EVERY_MS, () => void this.#probe(subject));
  }

  /** Counts like any call, since a store may answer a ping and refuse to count (read-only, full, loading). */
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

/**
 * Rejects after the silence, but believes in it only one turn of the event loop later: when this process stalled, the
 * timer is due before the answer that waits in the socket has been read.
 */
export function unlessSilent<T>(timers: Timers, answer: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = () =>
    timers.nextTurn(() => reject(new LimitStoreError("SILENT", SILENT_ADVICE, { countedNothing: false })));
  const cancel = timers.after(SILENCE_MS, giveUp);
  answer.then(resolve, reject).finally(cancel);
  return promise;
}
