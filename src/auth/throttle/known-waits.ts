import type { Clock } from "../../lib/clock.ts";
import { Lru } from "../../lib/lru.ts";

/** Times by the monotonic clock. */
interface Remembered {
  readonly untilMs: number;
  believedUntilMs: number;
  readonly email: string;
}

export interface KnownWait {
  /** The rest of the wait, rounded up to whole seconds. */
  readonly retryAfterMs: number;
  /** Normalized e-mail address of the account that was tried; empty if the wait is of an address or a network. */
  readonly email: string;
}

/** Time for which a wait is used without asking the database. An operator or a login may have ended it meanwhile. */
const BELIEVED_MS = 1000;
const MAX_WAITS = 20_000;

/**
 * A negative cache of the waits that the database reported lately, so that a flood costs one read a second. When a wait
 * is a second old, the next caller asks the database, and the others use the old wait for another second
 * (stale-while-revalidate).
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

  /** Undefined if no wait is known, or if this caller must ask the database. */
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

  /** Call it when the database no longer has such a wait. */
  forget(name: string): void {
    this.#waits.delete(name);
  }

  /** Forgets all waits. Call it when a login or an operator has ended one of them. */
  clear(): void {
    this.#waits.clear();
  }
}
