import { systemClock } from "../../lib/clock.ts";
import { constantError, type DomainError } from "../../lib/errors.ts";
import { Histogram, SECONDS } from "../../lib/histogram.ts";
import { FairGate, type GatePass } from "../../shares/fair-gate.ts";
import type { Holder } from "../../shares/holder.ts";

export interface HashTurnsOptions {
  /** Maximum hashes that run at once. */
  readonly concurrency: number;
  /**
   * Maximum calls that wait for a hash. It also bounds the calls that wait to be judged, which have their own queue.
   */
  readonly maxQueue: number;
  /** Maximum time from the beginning of a call to its first hash, and maximum wait for each further hash. */
  readonly maxWaitMs: number;
}

/** The facts about a call that decide when it gets a hash. */
export interface HashCaller {
  /** The networks of its address, the widest first. */
  readonly networks: readonly string[];
  /** Whether the login throttle will probably refuse it. Such calls are judged one at a time. */
  readonly isDoubtful: boolean;
  /**
   * Whether it comes from a network from which a login to its account succeeded lately, or is surely the owner's.
   * `CallTurns.hash` reads it when the call asks for a hash.
   */
  readonly isKnown: boolean;
}

const RETRY_AFTER_MS = 1000;
const OVERLOADED = constantError("OVERLOADED", "too many logins at once; try again", { retryAfterMs: RETRY_AFTER_MS });
const CANCELLED = constantError("CANCELLED", "the call has ended");
/**
 * Only the queue as a whole is bounded. A new call of a group is refused only if no other group has more waiting calls.
 */
const NO_BOUND = () => Number.POSITIVE_INFINITY;
/** Maximum calls that are judged at once. Each takes at most one connection to the database. */
const JUDGED_AT_ONCE = 4;
/** Maximum calls of one widest network (an IPv4 /24 or an IPv6 /48) that are judged at once. */
const JUDGED_OF_NETWORK = 2;

/**
 * Two bounded semaphores with queues, one after the other. The first one bounds how many calls are judged at once: may
 * this call have a hash? The second one bounds how many hashes run at once.
 *
 * Both serve networks in turn. If a queue is full, the network with the most waiting calls gives way. Known callers get
 * every second hash and half of the queue for hashes, while they ask for them.
 */
export class HashTurns {
  readonly judging: FairGate;
  readonly hashing: FairGate;
  readonly #maxWaitMs: number;
  /** Time for which calls waited for a hash that they got, in seconds. */
  readonly waitSeconds = new Histogram(SECONDS);
  /** Number of calls since the start that ended with OVERLOADED. */
  refused = 0;

  constructor({ concurrency, maxQueue, maxWaitMs }: HashTurnsOptions) {
    this.judging = new FairGate({
      places: JUDGED_AT_ONCE,
      mostPlaces: ([kind, ...networks]) => {
        if (networks.length > 0) return JUDGED_OF_NETWORK;
        return kind === "doubtful" ? 1 : JUDGED_AT_ONCE;
      },
      mostWaiting: NO_BOUND,
      queue: maxQueue,
    });
    this.hashing = new FairGate({
      places: concurrency,
      mostPlaces: () => concurrency,
      mostWaiting: NO_BOUND,
      queue: maxQueue,
    });
    this.#maxWaitMs = maxWaitMs;
  }

  /** Starts the time of a call. The call has no place yet. @throws CANCELLED if the signal has aborted */
  begin(caller: HashCaller, signal?: AbortSignal): CallTurns {
    if (signal?.aborted) throw CANCELLED;
    return new CallTurns(this, { caller, maxWaitMs: this.#maxWaitMs, signal });
  }
}

interface CallTurnsInput {
  readonly caller: HashCaller;
  readonly maxWaitMs: number;
  readonly signal: AbortSignal | undefined;
}

/** The turns of one call: first it is judged, then it may have hashes, one after the other. Dispose it at the end. */
export class CallTurns implements Disposable {
  readonly #turns: HashTurns;
  readonly #caller: HashCaller;
  readonly #maxWaitMs: number;
  readonly #signal: AbortSignal | undefined;
  #timer: NodeJS.Timeout;
  #isLate = false;
  #onLate: (() => void) | undefined;
  #isOver = false;

  constructor(turns: HashTurns, { caller, maxWaitMs, signal }: CallTurnsInput) {
    this.#turns = turns;
    this.#caller = caller;
    this.#maxWaitMs = maxWaitMs;
    this.#signal = signal;
    this.#timer = this.#startTimer();
  }

  /**
   * Runs `work`, which finds out whether the call may have a hash, when its turn comes.
   *
   * @throws OVERLOADED if its turn does not come within `maxWaitMs`, or another network takes its place in the queue;
   *   CANCELLED if the signal aborts before its turn
   */
  async judge<T>(work: () => Promise<T>): Promise<T> {
    const { isDoubtful, networks } = this.#caller;
    const pass = await this.#enter(this.#turns.judging, [isDoubtful ? "doubtful" : "open", ...networks]);
    try {
      return await work();
    } finally {
      pass.leave();
    }
  }

  /**
   * Runs `work`, which computes one hash, when its turn comes. `work` can still refuse: a call that gets no turn never
   * reaches it.
   *
   * @throws as `judge`, and what `work` throws
   */
  async hash<T>(work: () => Promise<T>): Promise<T> {
    const { isKnown, networks } = this.#caller;
    const askedAtMs = systemClock.monotonicMs();
    const pass = await this.#enter(this.#turns.hashing, [isKnown ? "known" : "stranger", ...networks]);
    this.#turns.waitSeconds.observeMs(systemClock.monotonicMs() - askedAtMs);
    clearTimeout(this.#timer);
    try {
      return await work();
    } finally {
      pass.leave();
      this.#isLate = false;
      if (!this.#isOver) this.#timer = this.#startTimer();
    }
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #startTimer(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#isLate = true;
      this.#onLate?.();
    }, this.#maxWaitMs);
  }

  /**
   * Takes a place of the gate, and waits for it. A late call, which has used up `maxWaitMs`, gets a place only if one
   * is free.
   */
  async #enter(gate: FairGate, holder: Holder): Promise<GatePass> {
    if (this.#signal?.aborted) throw CANCELLED;
    const { promise: entered, resolve, reject } = Promise.withResolvers<void>();
    const pass = gate.enter(holder, { onEnter: resolve, onGiveWay: () => reject(this.#refuse()) });
    if (pass?.isInside) return pass;
    if (pass === undefined || this.#isLate) {
      pass?.leave();
      throw this.#refuse();
    }
    const giveUp = (error: () => DomainError) => {
      if (pass.isInside) return;
      pass.leave();
      reject(error());
    };
    const abort = () => giveUp(() => CANCELLED);
    this.#onLate = () => giveUp(() => this.#refuse());
    this.#signal?.addEventListener("abort", abort, { once: true });
    try {
      await entered;
    } finally {
      this.#onLate = undefined;
      this.#signal?.removeEventListener("abort", abort);
    }
    return pass;
  }

  #refuse(): DomainError {
    this.#turns.refused++;
    return OVERLOADED;
  }
}
