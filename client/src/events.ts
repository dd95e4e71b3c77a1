/**
 * The outcome of the last exchange with the service. `starting`: there was none yet. `unavailable`: it had no verdict.
 * `no stream`: it answers, but has no room for the stream of changes, so that kept records live by their own age.
 */
export type LatchkeyState = "starting" | "ready" | "no stream" | "unavailable" | "closed";

/** A change at the service. A RESYNC says that changes may have been missed: everything kept was dropped. */
export interface LatchkeyChange {
  /** UNKNOWN: a kind that this version does not know. */
  readonly kind: "KEY" | "OWNER" | "SESSION" | "SERVICE_CREDENTIAL" | "SIGNING_KEY" | "UNKNOWN" | "RESYNC";
  /** The id of the key, user, session, credential or signing key; empty for a RESYNC. */
  readonly id: string;
  /** Answers of the service with a greater or equal `Freshness.position` know of this change; 0n for a RESYNC. */
  readonly position: bigint;
}

/** Event -> the value that its listeners get. */
export interface LatchkeyEvents {
  /** The state, whenever it changes. */
  readonly state: LatchkeyState;
  /** Each change that the stream tells, in order, a turn after it took effect here. */
  readonly change: LatchkeyChange;
  /**
   * A fault that concerns more than one call: a refused credential, tokens of another issuer, a service that is older
   * than near verification.
   */
  readonly error: Error;
}

type Listener<E extends keyof LatchkeyEvents> = (value: LatchkeyEvents[E]) => void;

const NAMES: readonly string[] = ["state", "change", "error"] satisfies (keyof LatchkeyEvents)[];

/** Listeners run in a later turn of the event loop, and what they throw reaches no call and no other listener. */
export class Events {
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  #state: LatchkeyState = "starting";

  get state(): LatchkeyState {
    return this.#state;
  }

  /** @returns a function that removes the listener */
  on<E extends keyof LatchkeyEvents>(event: E, listener: Listener<E>): () => void {
    if (!NAMES.includes(event)) throw new TypeError(`on: no such event; there are ${NAMES.join(", ")}`);
    if (typeof listener !== "function") throw new TypeError("on: the listener must be a function");
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  emit<E extends keyof LatchkeyEvents>(event: E, value: LatchkeyEvents[E]): void {
    for (const listener of this.#listeners.get(event) ?? []) {
      setImmediate(() => {
        try {
          (listener as Listener<E>)(value);
        } catch {
          // A listener's fault is not the client's, and no caller waits for it.
        }
      });
    }
  }

  /** Whether the event has a listener. */
  has(event: keyof LatchkeyEvents): boolean {
    return (this.#listeners.get(event)?.size ?? 0) > 0;
  }

  become(state: LatchkeyState): void {
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.emit("state", state);
  }
}
