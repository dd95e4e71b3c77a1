/** Something that happens at a virtual time. */
interface Event {
  readonly atMs: number;
  /** Orders what happens at the same time. */
  readonly order: number;
  readonly run: () => void;
}

/**
 * The only time of a simulation. Events run one by one in the order of their times; before the next one, every promise
 * that the last one settled has been followed to its end. Nothing else runs, so that a run is its seed's alone.
 */
export class VirtualTime {
  /** True time. No simulated process sees it: each has clocks of its own. */
  nowMs = 0;
  #order = 0;
  /** A binary heap, the next event first. */
  readonly #events: Event[] = [];

  after(ms: number, run: () => void): void {
    this.#push({ atMs: this.nowMs + Math.max(0, ms), order: this.#order++, run });
  }

  /** Runs all events up to this time, and those that they bring, unless one of them ends it. */
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

/** One real turn of the event loop, which Node takes only once no promise has anything left to do. */
function allSettled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
