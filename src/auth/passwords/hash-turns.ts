import { DomainError } from "../../lib/errors.ts";
import { FairGate, type GatePass } from "../../shares/fair-gate.ts";
import type { Holder } from "../../shares/holder.ts";

export interface HashTurnsOptions {
  /** How many hashes run at once. */
  readonly concurrency: number;
  /** How many calls may wait for a hash, and how many more to be judged before that. */
  readonly maxQueue: number;
  /** How long a call may be here before its first hash, and wait for each further one. */
  readonly maxWaitMs: number;
}

/** Whom a call that wants a hash belongs to. */
export interface HashCaller {
  /** The networks of its address, the widest first. */
  readonly networks: readonly string[];
  /** Whether it has to wait in all likelihood: such calls are judged one at a time. */
  readonly isDoubtful: boolean;
  /** Whether it comes from where someone logged in to its account lately. Asked when it is about to wait for a hash. */
  readonly isKnown: boolean;
}

const RETRY_AFTER_MS = 1000;
/** The queue as a whole is bounded: a group with more than others gives way, and is refused only when none has more. */
const NO_BOUND = () => Number.POSITIVE_INFINITY;
/** Calls that are judged at once. Each takes at most one connection to the database. */
const JUDGED_AT_ONCE = 4;
/** The same of one widest network, so that others have the rest. */
const JUDGED_OF_NETWORK = 2;

/**
 * Two bounded semaphores, one behind the other: calls are judged first, and those that need not wait take a place among the
 * hashes. Both serve networks in turn, and let the network with the most waiting calls give way when they are full. Of the
 * hashes every second turn, and half of the places to wait, belong to known callers while they ask for them.
 */
export class HashTurns {
  readonly judging: FairGate;
  readonly hashing: FairGate;
  readonly #maxWaitMs: number;

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

  /** The time of the call begins here; it has no place yet. @throws CANCELLED when the signal has aborted */
  begin(caller: HashCaller, signal?: AbortSignal): CallTurns {
    if (signal?.aborted) throw cancelled();
    return new CallTurns(this, { caller, maxWaitMs: this.#maxWaitMs, signal });
  }
}

interface CallTurnsInput {
  readonly caller: HashCaller;
  readonly maxWaitMs: number;
  readonly signal: AbortSignal | undefined;
}

/** The turns of one call, one after the other. */
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
   * Runs what finds out whether the call may have a hash.
   * @throws OVERLOADED when its turn is long in coming or another network needs its place, CANCELLED when the signal aborts
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

  /** Runs `work`, which makes a hash. @throws as `judge` */
  async hash<T>(work: () => Promise<T>): Promise<T> {
    const { isKnown, networks } = this.#caller;
    const pass = await this.#enter(this.#turns.hashing, [isKnown ? "known" : "stranger", ...networks]);
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

  /** A call that is late has its turn if there is one at once, and does not wait for it. */
  async #enter(gate: FairGate, holder: Holder): Promise<GatePass> {
    if (this.#signal?.aborted) throw cancelled();
    const { promise: entered, resolve, reject } = Promise.withResolvers<void>();
    const pass = gate.enter(holder, { onEnter: resolve, onGiveWay: () => reject(overloaded()) });
    if (pass?.isInside) return pass;
    if (pass === undefined || this.#isLate) {
      pass?.leave();
      throw overloaded();
    }
    const giveUp = (error: DomainError) => {
      if (pass.isInside) return;
      pass.leave();
      reject(error);
    };
    const abort = () => giveUp(cancelled());
    this.#onLate = () => giveUp(overloaded());
    this.#signal?.addEventListener("abort", abort, { once: true });
    try {
      await entered;
    } finally {
      this.#onLate = undefined;
      this.#signal?.removeEventListener("abort", abort);
    }
    return pass;
  }
}

function overloaded(): DomainError {
  return new DomainError("OVERLOADED", "too many logins at once; try again", { retryAfterMs: RETRY_AFTER_MS });
}

function cancelled(): DomainError {
  return new DomainError("CANCELLED", "the call has ended");
}
