import type { Timers } from "../../src/lib/clock.ts";
import { StandingClock } from "./shifted-clock.ts";

interface Timer {
  readonly dueMs: number;
  readonly run: () => void;
}

/** A clock and timers in an event loop that turns only when the test says so. */
export class Turns {
  readonly clock = new StandingClock();
  /** Timers that have not run yet. */
  readonly waiting = new Set<Timer>();
  readonly timers: Timers = {
    after: (ms, run) => {
      const timer = { dueMs: this.clock.monotonicMs() + ms, run };
      this.waiting.add(timer);
      return () => void this.waiting.delete(timer);
    },
    nextTurn: (run) => void this.timers.after(0, run),
  };

  /** One turn of the event loop that takes `ms`. After it the due timers run. */
  readonly turn = (ms: number): void => {
    this.clock.advance(ms);
    const due = [...this.waiting].filter(({ dueMs }) => dueMs <= this.clock.monotonicMs());
    for (const timer of due) if (this.waiting.delete(timer)) timer.run();
  };
}
