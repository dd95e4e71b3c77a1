import type { Clock } from "../../lib/clock.ts";
import { Lru } from "../../lib/lru.ts";

interface Remembered {
  readonly untilMs: number;
  believedUntilMs: number;
  readonly email: string;
}

export interface KnownWait {
  /** What is left of it, in whole seconds. */
  readonly retryAfterMs: number;
  /** Normalised address of the account that was tried; empty where it was for none. */
  readonly email: string;
}

/** How long a wait is believed without asking the database. An operator or a login may have ended it meanwhile. */
const BELIEVED_MS = 1000;
const MAX_WAITS = 20_000;

/**
 * Waits that the database told of lately: a negative cache, so that a flood costs one read a second. When a wait is no longer
 * believed, the first caller asks the database and the others believe it for another second (stale-while-revalidate).
 */
export class KnownWaits {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #waits = new Lru<string, Remembered>(MAX_WAITS);

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  note(name: string, waitMs: number, email = ""): void {
    const nowMs = this.#clock.monotonicMs();
    const believedUntilMs = nowMs + Math.min(waitMs, BELIEVED_MS);
    this.#waits.set(name, { untilMs: nowMs + waitMs, believedUntilMs, email });
  }

  /** Undefined: no wait is known, or this caller is the one to ask the database. */
  of(name: string): KnownWait | undefined {
    const wait = this.#waits.get(name);
    const nowMs = this.#clock.monotonicMs();
    if (wait === undefined || nowMs >= wait.untilMs) return undefined;
    if (nowMs >= wait.believedUntilMs) {
      wait.believedUntilMs = nowMs + BELIEVED_MS;
      return undefined;
    }
    return { retryAfterMs: Math.ceil((wait.untilMs - nowMs) / 1000) * 1000, email: wait.email };
  }

  /** The database tells of no such wait any more. */
  forget(name: string): void {
    this.#waits.delete(name);
  }

  /** Forgets all: a login or an operator has ended some wait. */
  clear(): void {
    this.#waits.clear();
  }
}
