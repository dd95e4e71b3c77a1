/**
 * The outcome of the last exchange with the service. `starting`: there was none yet. `unavailable`: it had no verdict.
 */
export type LatchkeyState = "starting" | "ready" | "unavailable" | "closed";

/** Event -> the value that its listeners get. */
export interface LatchkeyEvents {
  /** The state, whenever it changes. */
  readonly state: LatchkeyState;
  /** A fault that concerns more than one call: a refused credential, tokens of another issuer. */
  readonly error: Error;
}

type Listener<E extends keyof LatchkeyEvents> = (value: LatchkeyEvents[E]) => void;

const NAMES: readonly string[] = ["state", "error"] satisfies (keyof LatchkeyEvents)[];

/** Listeners run in a later turn of the event loop, and what they throw reaches no call and no other listener. */
export class Events {
  readonly #listeners = new Map<string, Set<(value: never) => void>>();
  #state: LatchkeyState = "starting";

  get state(): LatchkeyState {
    return this.#state;
  }

  /** @returns a function that removes the listener */
  on<E extends keyof LatchkeyEvents>(event: E, listener: Listener<E>): () => void {
    if (!NAMES.includes(event)) throw new TypeError(`on: no such event; there are ${NAMES.join(" and ")}`);
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

  become(state: LatchkeyState): void {
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.emit("state", state);
  }
}
