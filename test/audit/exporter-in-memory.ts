/** A queue in memory and a timer that a test runs, for an exporter. */
import type { AuditEvent } from "../../src/audit/audit-event.ts";
import type { DestinationName, ExportStore, QueuedEvent } from "../../src/audit/export/export-store.ts";
import type { Timers } from "../../src/lib/clock.ts";
import { databaseUnavailable } from "../../src/lib/errors.ts";
import { newId } from "../../src/lib/id.ts";
import type { StandingClock } from "../support/shifted-clock.ts";

/** One timer that a test lets run, which moves the clock by its delay. */
export class MovedTimers implements Timers {
  readonly #clock: StandingClock;
  waiting: { readonly ms: number; readonly run: () => void } | undefined;

  constructor(clock: StandingClock) {
    this.#clock = clock;
  }

  after(ms: number, run: () => void): () => void {
    this.waiting = { ms, run };
    return () => {
      this.waiting = undefined;
    };
  }

  nextTurn(run: () => void): void {
    setImmediate(run);
  }

  /** Lets the delay pass. @returns the delay after it */
  async run(): Promise<number | undefined> {
    const { ms, run } = this.waiting!;
    this.waiting = undefined;
    this.#clock.advance(ms);
    run();
    await new Promise((resolve) => setImmediate(resolve));
    return this.waiting === undefined ? undefined : (this.waiting as { readonly ms: number }).ms;
  }
}

/** The queue of one destination, with a lease. */
export class Queue implements ExportStore {
  readonly #clock: StandingClock;
  rows: QueuedEvent[] = [];
  readonly dueMs = new Map<string, number>();
  lease = { holder: "", untilMs: Number.NEGATIVE_INFINITY };
  isDown = false;

  constructor(clock: StandingClock) {
    this.#clock = clock;
  }

  add(...events: readonly (AuditEvent | undefined)[]): void {
    for (const event of events) this.rows.push({ queueId: newId("evt"), revision: 0, attempts: 0, event });
  }

  async lead(_destination: DestinationName, holder: string, leaseMs: number): Promise<boolean> {
    if (this.isDown) throw databaseUnavailable();
    const nowMs = this.#clock.elapsedMs();
    if (this.lease.holder !== holder && this.lease.untilMs > nowMs) return false;
    this.lease = { holder, untilMs: nowMs + leaseMs };
    return true;
  }

  async resign(_destination: DestinationName, holder: string): Promise<void> {
    if (this.lease.holder === holder) this.lease = { holder, untilMs: Number.NEGATIVE_INFINITY };
  }

  async next(_destination: DestinationName, size: number): Promise<readonly QueuedEvent[]> {
    if (this.isDown) throw databaseUnavailable();
    const isDue = ({ queueId }: QueuedEvent) => (this.dueMs.get(queueId) ?? 0) <= this.#clock.elapsedMs();
    const held = new Set(this.rows.filter((row) => !isDue(row)).map(({ event }) => event?.subjectId));
    const open = this.rows.filter((row) => isDue(row) && !(row.event && held.has(row.event.subjectId)));
    return open.sort((a, b) => a.attempts - b.attempts).slice(0, size);
  }

  async remove(events: readonly QueuedEvent[]): Promise<void> {
    const removed = new Set(events.map(({ queueId }) => queueId));
    this.rows = this.rows.filter(({ queueId }) => !removed.has(queueId));
  }

  async removeLost(): Promise<number> {
    const lost = this.rows.filter(({ event }) => event === undefined).slice(0, 2000);
    await this.remove(lost);
    return lost.length;
  }

  async delay({ queueId }: QueuedEvent, delayMs: number): Promise<void> {
    this.dueMs.set(queueId, this.#clock.elapsedMs() + delayMs);
    this.rows = this.rows.map((row) => (row.queueId === queueId ? { ...row, attempts: row.attempts + 1 } : row));
  }

  async backlog() {
    return { waiting: this.rows.length, oldestAgeMs: 0 };
  }

  async forget(): Promise<number> {
    return 0;
  }
}
