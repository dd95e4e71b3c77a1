/**
 * The export of the audit trail, at least once and in order per subject.
 *
 *   exporter.ts        takes events from the queue to one destination, and tries again
 *   export-store.ts    the queue of events that wait, as an interface
 *   exported-event.ts  an event as text, the same for every destination
 *
 * The transaction that writes an event also queues it (the transactional outbox pattern). So no committed event is
 * missed, and no call waits for a destination. One process at a time exports to a destination: the one with its lease.
 * An event leaves the queue after its delivery. A process that is killed in between delivers the event again.
 */
import type { AgeClock, Timers } from "../../lib/clock.ts";
import { HOUR_MS, MINUTE_MS } from "../../lib/clock.ts";
import { reasonOf } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import { settleWithin } from "../../lib/settle-within.ts";
import type { AuditEvent } from "../audit-event.ts";
import {
  type Backlog,
  type DestinationName,
  type ExportStore,
  MOST_OF_SUBJECT,
  type QueuedEvent,
} from "./export-store.ts";

/** A place that events are exported to. */
export interface Destination {
  readonly name: DestinationName;
  /**
   * Delivers events in their order; events with different subjects may go at the same time. Once an event has failed,
   * no later event of its subject is tried. Resolves within MOST_DELIVERY_MS, and never rejects.
   */
  deliver(events: readonly AuditEvent[]): Promise<Delivery>;
  /** Ends deliveries under way; they count as failed. */
  close(): void;
}

/** The outcome of a delivery. An event in neither collection was not tried. */
export interface Delivery {
  /** Ids of events. */
  readonly delivered: ReadonlySet<string>;
  /** The reason of each failure by the event's id: a code or a status, never a text of the destination. */
  readonly failed: ReadonlyMap<string, string>;
  /** Ids of failed events that the destination answered. The fault may be the event's, so others are tried first. */
  readonly refused?: ReadonlySet<string> | undefined;
  /** The time that the destination asks to wait, if it does. */
  readonly retryAfterMs?: number | undefined;
}

/** Maximum time of a delivery. */
export const MOST_DELIVERY_MS = 20_000;
/** A process that stops answering keeps the lease for this time. */
const LEASE_MS = 45_000;
/** The lease is renewed if it has less than this left, so that no delivery outlasts it. */
const LEAST_LEASE_MS = 30_000;
/** How often a process without the lease asks for it. */
const FOLLOW_MS = 5000;
/** How often the lease is seen to while the destination rests. */
const RESTING_MS = 10_000;
/** How often the queue is read if nothing waits. */
const IDLE_MS = 1000;
/** Maximum events of one delivery. */
const BATCH = 200;
/** After this many events more are read without a pause: the queue limits the events of one subject to as many. */
const LARGE_BATCH = MOST_OF_SUBJECT;
const FIRST_PAUSE_MS = 1000;
/** Maximum pause after which a destination that fails is tried again. */
const MOST_PAUSE_MS = 5 * MINUTE_MS;
/** Maximum pause of one event that fails while others are delivered, and maximum time that a destination may ask for. */
const MOST_DELAY_MS = HOUR_MS;
/** Maximum time for the last delivery when the process stops. */
const LAST_DELIVERY_MS = 1000;

export interface AuditExporterDeps {
  readonly store: ExportStore;
  readonly destination: Destination;
  /** A text that no other exporter has. */
  readonly holder: string;
  readonly clock: Pick<AgeClock, "elapsedMs">;
  readonly timers: Timers;
  readonly log: Log;
  /** A number from 0 up to, but not including, 1. It spreads the pauses of processes. */
  readonly random: () => number;
}

/** The work of an exporter since it was made, for metrics. */
export interface ExportFigures {
  readonly delivered: number;
  /** Attempts that failed. */
  readonly failed: number;
  /** Events that the audit trail had deleted before they could be delivered. */
  readonly lost: number;
  /** As of the last renewal of the lease, at most about 15 s ago; nothing waits at a process without the lease. */
  readonly backlog: Backlog;
}

const EMPTY: Backlog = Object.freeze({ waiting: 0, oldestAgeMs: 0 });

/**
 * Exports to one destination.
 *
 * - If every attempt of a delivery fails, the destination rests: it is tried again after a pause of 1 s, which doubles
 *   up to 5 minutes. Events that the destination answered wait longer than that, so that it is next tried with others.
 * - If some events fail while others are delivered, only their subjects wait, for up to an hour.
 * - An event waits until it is delivered, or until the audit trail deletes it (LATCHKEY_AUDIT_DAYS).
 */
export class AuditExporter {
  readonly #deps: AuditExporterDeps;
  #leasedUntilMs = Number.NEGATIVE_INFINITY;
  /** Deliveries in a row that failed as a whole. */
  #failures = 0;
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  #isDatabaseFailing = false;
  #figures: ExportFigures = { delivered: 0, failed: 0, lost: 0, backlog: EMPTY };
  #round: Promise<void> | undefined;
  #isStopping = false;
  #cancel = () => {};

  constructor(deps: AuditExporterDeps) {
    this.#deps = deps;
  }

  get destination(): DestinationName {
    return this.#deps.destination.name;
  }

  get figures(): ExportFigures {
    return this.#figures;
  }

  /** Begins to export. When this resolves, further events are queued, unless the database is unreachable. */
  async start(): Promise<void> {
    await this.#lead().catch((error: unknown) => this.#missDatabase(error));
    this.#after(0);
  }

  /** Ends the export, and lets another process begin. Resolves within 2 s. */
  async stop(): Promise<void> {
    const { store, destination, holder } = this.#deps;
    this.#isStopping = true;
    this.#cancel();
    await settleWithin(LAST_DELIVERY_MS, this.#round ?? Promise.resolve());
    destination.close();
    const ended = (this.#round ?? Promise.resolve()).then(() => store.resign(destination.name, holder));
    await settleWithin(LAST_DELIVERY_MS, ended);
  }

  #after(delayMs: number): void {
    if (this.#isStopping) return;
    this.#cancel = this.#deps.timers.after(delayMs, () => {
      this.#round = this.#export().then((nextMs) => {
        this.#round = undefined;
        this.#after(nextMs);
      });
    });
  }

  /** @returns the pause until the next call */
  async #export(): Promise<number> {
    const { store, destination, clock } = this.#deps;
    try {
      if (!(await this.#lead())) return FOLLOW_MS;
      this.#isDatabaseFailing = false;
      const restsMs = this.#restsUntilMs - clock.elapsedMs();
      if (restsMs > 0) return Math.min(restsMs, RESTING_MS);
      const queued = await store.next(destination.name, BATCH);
      const events = queued.flatMap(({ event }) => event ?? []);
      if (events.length < queued.length) await this.#lose(queued.filter(({ event }) => event === undefined));
      if (events.length === 0 || this.#isStopping) return queued.length > 0 ? 0 : IDLE_MS;
      const delivery = await destination.deliver(events);
      await store.remove(queued.filter(({ event }) => event !== undefined && delivery.delivered.has(event.id)));
      return await this.#judge(queued, delivery);
    } catch (error) {
      return this.#missDatabase(error);
    }
  }

  /** Takes or renews the lease. @returns whether this process exports */
  async #lead(): Promise<boolean> {
    const { store, destination, holder, clock, log } = this.#deps;
    const nowMs = clock.elapsedMs();
    if (this.#leasedUntilMs - nowMs >= LEAST_LEASE_MS) return true;
    const led = this.#leasedUntilMs > nowMs;
    const leads = await store.lead(destination.name, holder, LEASE_MS);
    this.#leasedUntilMs = leads ? nowMs + LEASE_MS : Number.NEGATIVE_INFINITY;
    if (leads && !led) log.info("this process exports the audit trail", { destination: destination.name });
    this.#figures = { ...this.#figures, backlog: leads ? await store.backlog(destination.name) : EMPTY };
    return leads;
  }

  async #judge(queued: readonly QueuedEvent[], delivery: Delivery): Promise<number> {
    const { delivered, failed, retryAfterMs } = delivery;
    this.#figures = {
      ...this.#figures,
      delivered: this.#figures.delivered + delivered.size,
      failed: this.#figures.failed + failed.size,
    };
    if (delivered.size === 0) {
      const nextMs = this.#rest([...failed.values()][0] ?? "nothing was tried", retryAfterMs);
      await this.#delayRefused(queued, delivery);
      return nextMs;
    }
    if (this.#failures > 0) {
      this.#deps.log.info("audit events are exported again", { destination: this.#deps.destination.name });
    }
    this.#failures = 0;
    for (const each of queued) {
      const reason = each.event && failed.get(each.event.id);
      if (reason === undefined) continue;
      if (each.attempts === 0) this.#warnOf(each, reason);
      // The destination works, but does not take this event. Later events of its subject wait with it.
      await this.#deps.store.delay(each, this.#pauseMs(each.attempts + 1, MOST_DELAY_MS));
    }
    return queued.length >= LARGE_BATCH ? 0 : IDLE_MS;
  }

  /**
   * The destination took nothing, and answered. Each refused event is due only after the rest, so that a few refused
   * events can't be all that is ever tried.
   */
  async #delayRefused(queued: readonly QueuedEvent[], { failed, refused }: Delivery): Promise<void> {
    const { store, clock } = this.#deps;
    const restsMs = this.#restsUntilMs - clock.elapsedMs();
    for (const each of queued) {
      if (!each.event || !refused?.has(each.event.id)) continue;
      if (this.#failures === 1 && each.attempts === 0) this.#warnOf(each, failed.get(each.event.id)!);
      await store.delay(each, restsMs + this.#pauseMs(each.attempts + 1, MOST_PAUSE_MS));
    }
  }

  /**
   * Takes some of the events that the audit trail has deleted from the queue, and reports them as lost. Any process may
   * do it, even while the destination rests. @returns whether it found any @throws DATABASE_UNAVAILABLE
   */
  async prune(): Promise<boolean> {
    const events = await this.#deps.store.removeLost(this.destination);
    if (events > 0) this.#reportLost(events);
    return events > 0;
  }

  async #lose(queued: readonly QueuedEvent[]): Promise<void> {
    await this.#deps.store.remove(queued);
    this.#reportLost(queued.length);
  }

  #reportLost(events: number): void {
    const { destination, log } = this.#deps;
    this.#figures = { ...this.#figures, lost: this.#figures.lost + events };
    log.error("audit events were deleted before they were exported", { destination: destination.name, events });
  }

  /** Lets the destination rest after a failure. */
  #rest(reason: string, retryAfterMs = 0): number {
    this.#failures++;
    if (this.#failures === 1) this.#warn(reason);
    const pauseMs = this.#pauseMs(this.#failures, MOST_PAUSE_MS);
    const restsMs = Math.max(pauseMs, Math.min(retryAfterMs, MOST_DELAY_MS));
    this.#restsUntilMs = this.#deps.clock.elapsedMs() + restsMs;
    return Math.min(restsMs, RESTING_MS);
  }

  #missDatabase(error: unknown): number {
    if (!this.#isDatabaseFailing) this.#warn(reasonOf(error));
    this.#isDatabaseFailing = true;
    return FOLLOW_MS;
  }

  #warnOf({ event }: QueuedEvent, reason: string): void {
    const { log, destination } = this.#deps;
    log.warn("an audit event can't be exported; events of its subject wait", {
      destination: destination.name,
      event: event?.id,
      reason,
    });
  }

  #warn(reason: string): void {
    const { log, destination } = this.#deps;
    log.warn("audit events can't be exported now; trying again", { destination: destination.name, reason });
  }

  /** The pause before attempt `attempt + 1`: it doubles up to `mostMs`, and is up to a quarter longer or shorter. */
  #pauseMs(attempt: number, mostMs: number): number {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 30), mostMs);
    return Math.round(pauseMs * (0.75 + this.#deps.random() / 2));
  }
}
