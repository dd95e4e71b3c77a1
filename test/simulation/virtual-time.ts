/** An event at a virtual time. */
interface Event {
  readonly atMs: number;
  /** Orders events of the same time. */
  readonly order: number;
  readonly run: () => void;
}

/**
 * The only time of a simulation. Events run one by one in the order of their times. Before the next event, every
 * promise that the last event settled is followed to its end. Nothing else runs, so a run depends only on its seed.
 */
export class VirtualTime {
  /** True time. No simulated process sees it: each has its own clocks. */
  nowMs = 0;
  #order = 0;
  /** A binary heap, the next event first. */
  readonly #events: Event[] = [];

  after(ms: number, run: () => void): void {
    this.#push({ atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run });
  }

  /** Runs all events up to this time, including new ones, until `isOver`. */
  async runUntil(endMs: number, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const next = this.#events[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#pop();
      this.nowMs = next.atMs;
      next.run();
      await allSettled();
    }
  }

  #push(event: Event): void {
    const events = this.#events;
    let at = events.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(events[parent]!, event)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (isBefore(last, events[child]!)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** One real event-loop tick, which Node starts only when no promise has work left. */
function allSettled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
