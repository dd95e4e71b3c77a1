import type { Timers } from "../lib/clock.ts";

/** How a process reacts to signals. */
export interface SignalHandlers {
  /** Called once, at the first request to stop. */
  stop(signal: NodeJS.Signals): void;
  /** Called at each later request to stop, see SAME_STOP_MS. */
  force(): void;
  /** Called at SIGHUP. Must be harmless at any time. */
  reload(): void;
}

/**
 * Requests to stop within this time after the first one count as the same request. systemd and terminals signal all
 * processes of a group, and npm passes its own signal on. So npm's child gets two signals within milliseconds.
 */
const SAME_STOP_MS = 1000;

/**
 * Distinguishes the repeated signals of one request to stop from a new request. A request comes by SIGTERM, by SIGINT,
 * or by a message of the first process.
 */
export class Signals {
  readonly #handlers: SignalHandlers;
  readonly #timers: Timers;
  #isStopping = false;
  #isOver = false;

  constructor(handlers: SignalHandlers, timers: Timers) {
    this.#handlers = handlers;
    this.#timers = timers;
  }

  /** Handles the signals of the process from now on. */
  listen(process: Pick<NodeJS.Process, "on">): void {
    process.on("SIGTERM", (signal) => this.stop(signal));
    process.on("SIGINT", (signal) => this.stop(signal));
    process.on("SIGHUP", () => this.#handlers.reload());
  }

  stop(signal: NodeJS.Signals): void {
    if (!this.#isStopping) {
      this.#isStopping = true;
      // If the process stood still, its timers run before the signals that came meanwhile. Those signals came within
      // SAME_STOP_MS, so the time ends only after them, in the next turn of the event loop.
      this.#timers.after(SAME_STOP_MS, () => this.#timers.nextTurn(() => this.#endStop()));
      this.#handlers.stop(signal);
    } else if (this.#isOver) {
      this.#handlers.force();
    }
  }

  #endStop(): void {
    this.#isOver = true;
  }
}
