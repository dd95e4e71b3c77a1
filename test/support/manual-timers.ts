import type { Timers } from "../../src/lib/clock.ts";

/** Timers that run when a test says so. */
export class ManualTimers implements Timers {
  #waiting: (() => void)[] = [];

  after(_ms: number, run: () => void): () => void {
    this.#waiting.push(run);
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== run);
    };
  }

  nextTurn(run: () => void): void {
    setImmediate(run);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs all timers that wait now. */
  run(): void {
    const now = this.#waiting;
    this.#waiting = [];
    for (const run of now) run();
  }
}
