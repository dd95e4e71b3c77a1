import { DomainError } from "../lib/errors.ts";

export interface HashTurnsOptions {
  /** How many run at once. */
  readonly concurrency: number;
  /** How many more may be here. */
  readonly maxQueue: number;
  /** How long one may be here before his first turn, and wait for each further one. */
  readonly maxWaitMs: number;
}

const RETRY_AFTER_MS = 1000;

/** Who may hash when: so many at once, so many more that wait or are on their way to it, one after the other. */
export class HashTurns {
  readonly #options: HashTurnsOptions;
  readonly #waiting: (() => void)[] = [];
  #places = 0;
  #running = 0;

  constructor(options: HashTurnsOptions) {
    this.#options = options;
  }

  /** @throws OVERLOADED when all places are taken, CANCELLED when the signal has aborted */
  enter(signal?: AbortSignal): TurnPlace {
    if (signal?.aborted) throw cancelled();
    if (this.#places >= this.#options.concurrency + this.#options.maxQueue) throw overloaded();
    this.#places++;
    return new TurnPlace(this, this.#options.maxWaitMs, signal);
  }

  leave(): void {
    this.#places--;
  }

  /** Whether there is a turn at once; it is taken then. */
  tryBegin(): boolean {
    if (this.#running >= this.#options.concurrency) return false;
    this.#running++;
    return true;
  }

  /** Calls `begin` when a turn is handed over. @returns gives the wait up */
  wait(begin: () => void): () => void {
    this.#waiting.push(begin);
    return () => {
      const at = this.#waiting.indexOf(begin);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
  }

  /** A turn is over: the next who waits has it. */
  end(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}

/** The place of one call among them. */
export class TurnPlace implements Disposable {
  readonly #turns: HashTurns;
  readonly #maxWaitMs: number;
  readonly #signal: AbortSignal | undefined;
  #timer: NodeJS.Timeout;
  #isLate = false;
  #onLate: (() => void) | undefined;
  #hasLeft = false;

  constructor(turns: HashTurns, maxWaitMs: number, signal: AbortSignal | undefined) {
    this.#turns = turns;
    this.#maxWaitMs = maxWaitMs;
    this.#signal = signal;
    this.#timer = this.#startTimer();
  }

  /**
   * Runs `work` when its turn has come.
   * @throws OVERLOADED when that takes too long, CANCELLED when the signal aborts before
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#signal?.aborted) throw cancelled();
    if (!this.#turns.tryBegin()) await this.#turn();
    clearTimeout(this.#timer);
    try {
      return await work();
    } finally {
      this.#turns.end();
      this.#isLate = false;
      if (!this.#hasLeft) this.#timer = this.#startTimer();
    }
  }

  [Symbol.dispose](): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    clearTimeout(this.#timer);
    this.#turns.leave();
  }

  #startTimer(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#isLate = true;
      this.#onLate?.();
    }, this.#maxWaitMs);
  }

  #turn(): Promise<void> {
    if (this.#isLate) return Promise.reject(overloaded());
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#onLate = undefined;
        this.#signal?.removeEventListener("abort", abort);
      };
      const giveUp = this.#turns.wait(() => {
        settle();
        resolve();
      });
      const leave = (error: DomainError) => {
        giveUp();
        settle();
        reject(error);
      };
      const abort = () => leave(cancelled());
      this.#onLate = () => leave(overloaded());
      this.#signal?.addEventListener("abort", abort, { once: true });
    });
  }
}

function overloaded(): DomainError {
  return new DomainError("OVERLOADED", "too many logins at once; try again", { retryAfterMs: RETRY_AFTER_MS });
}

function cancelled(): DomainError {
  return new DomainError("CANCELLED", "the call has ended");
}
