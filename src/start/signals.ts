import type { Timers } from "../lib/clock.ts";

/** What a process does when it is told to. */
export interface SignalHandlers {
  /** Once, at the first request to stop. */
  stop(signal: NodeJS.Signals): void;
  /** At each request to stop that is another one. */
  force(): void;
  /** SIGHUP. Must be harmless at any time. */
  reload(): void;
}

/**
 * Requests to stop that come within this time of the first are the same one. systemd and terminals signal all processes of
 * a group, and npm passes its own signal on: its child gets two of them within milliseconds.
 */
const SAME_STOP_MS = 1000;

/** Tells one request to stop from the next, wherever they come from: SIGTERM, SIGINT, or another process's message. */
export class Signals {
  readonly #handlers: SignalHandlers;
  readonly #timers: Timers;
  #isStopping = false;
  #isOver = false;

  constructor(handlers: SignalHandlers, timers: Timers) {
    this.#handlers = handlers;
    this.#timers = timers;
  }

  /** Takes over what the process does at a signal. */
  listen(process: Pick<NodeJS.Process, "on">): void {
    process.on("SIGTERM", (signal) => this.stop(signal));
    process.on("SIGINT", (signal) => this.stop(signal));
    process.on("SIGHUP", () => this.#handlers.reload());
  }

  stop(signal: NodeJS.Signals): void {
    if (!this.#isStopping) {
      this.#isStopping = true;
      // A signal that came while the process stood still is handled in the turn after its timers: it came before.
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
