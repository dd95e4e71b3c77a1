import type { Timers } from "../lib/clock.ts";
import { Breaker } from "./breaker.ts";
import type { LimitDecision, LimitRequest } from "./limit.ts";
import type { LimitStore } from "./limit-store.ts";

export interface StorePartDeps {
  readonly store: LimitStore;
  /** As in `LimitStore.partOf`. */
  readonly part: string;
  readonly timers: Timers;
  /** The part went out of reach, for this reason, or came back. Called once for each change. */
  readonly onOutOfReach: (part: string, cause: unknown) => void;
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

interface Waiting {
  readonly request: LimitRequest;
  readonly resolve: (decision: LimitDecision | undefined) => void;
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
  #isClosed = false;

  constructor(deps: StorePartDeps) {
    this.#deps = deps;
  }

  get isOutOfReach(): boolean {
    return this.#breaker.isOpen;
  }

  /**
   * Asks the store, in the order of calls. undefined when it is out of reach: at once while the breaker is open, else
   * after 50 ms of silence. The request may have been counted all the same.
   */
  decide(request: LimitRequest): Promise<LimitDecision | undefined> {
    const { promise, resolve } = Promise.withResolvers<LimitDecision | undefined>();
    if (this.#waiting.length === 0) this.#deps.timers.nextTurn(() => this.#commit());
    this.#waiting.push({ request, resolve });
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
    const decisions = this.isOutOfReach ? undefined : await this.#ask(group.map((one) => one.request));
    for (const [at, one] of group.entries()) one.resolve(decisions?.[at]);
  }

  async #ask(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[] | undefined> {
    try {
      const decisions = await unlessSilent(this.#deps.timers, this.#deps.store.decide(requests));
      this.#breaker.record(false);
      return decisions;
    } catch (cause) {
      if (this.#breaker.record(true)) this.#giveUp(cause, requests[0]!.subject);
      return undefined;
    }
  }

  #giveUp(cause: unknown, subject: string): void {
    this.#probesInVain = 0;
    this.#deps.onOutOfReach(this.#deps.part, cause);
    this.#probeLater(subject);
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
    } catch {
      this.#probesInVain++;
      if (this.#probesInVain % PROBES_PER_RENEWAL === 0) this.#deps.store.renew(this.#deps.part);
      return this.#probeLater(subject);
    }
    this.#breaker.close();
    this.#deps.onBack(this.#deps.part);
  }
}

/**
 * Rejects after the silence, but believes in it only one turn of the event loop later: when this process stalled, the
 * timer is due before the answer that waits in the socket has been read.
 */
export function unlessSilent<T>(timers: Timers, answer: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = () => timers.nextTurn(() => reject(new Error(`no answer within ${SILENCE_MS} ms`)));
  const cancel = timers.after(SILENCE_MS, giveUp);
  answer.then(resolve, reject).finally(cancel);
  return promise;
}
