import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import type { AgeClock, Timers } from "../../src/lib/clock.ts";
import { errorOf, LatchkeyCredentialError, LatchkeyUnavailable } from "./errors.ts";

export interface OutageDeps {
  readonly clock: AgeClock;
  readonly timers: Timers;
  /** A call like those for verdicts, which rejects when they would. */
  readonly probe: () => Promise<unknown>;
}

/**
 * Whether the service is unreachable. It is the service's own circuit breaker in front of the service instead of its
 * database: one failed call opens it, any answer closes it, and it probes every 500 ms while it is open. It decides
 * only whether a caller waits before an old record is used. Calls without such a record are sent as always.
 */
export class Outage {
  readonly #breaker: DatabaseBreaker;
  /** The service refused our credential: it answers, and what it says to us is no. */
  #isRefused = false;

  constructor({ clock, timers, probe }: OutageDeps) {
    this.#breaker = new DatabaseBreaker(clock, timers, () =>
      probe().catch((error: unknown) => {
        if (this.#note(errorOf(error))) throw error;
      }),
    );
  }

  /** Whether old records are used without a call. */
  get isOpen(): boolean {
    return this.#breaker.isOpen && !this.#isRefused;
  }

  /** Whether this failure of a call allows that an old record is used. */
  allowsOld(error: unknown): boolean {
    return error instanceof LatchkeyUnavailable && error.isUnreachable && !this.#isRefused;
  }

  /** A call for verdicts failed as a whole. */
  failed(error: Error): void {
    if (this.#note(error)) this.#breaker.failed();
  }

  succeeded(): void {
    this.#isRefused = false;
    this.#breaker.succeeded();
  }

  stop(): void {
    this.#breaker.stop();
  }

  /** @returns whether no process of the service answered: an error with a reason is an answer */
  #note(error: Error): boolean {
    if (error instanceof LatchkeyCredentialError) this.#isRefused = true;
    return error instanceof LatchkeyUnavailable && error.isUnreachable && error.reason === undefined;
  }
}
