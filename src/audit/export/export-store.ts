import type { AuditEvent } from "../audit-event.ts";

/** The places that audit events are exported to. */
export const DESTINATION_NAMES = ["lines", "webhook"] as const;

export type DestinationName = (typeof DESTINATION_NAMES)[number];

/** An event that waits for its export to one destination. */
export interface QueuedEvent {
  readonly queueId: string;
  /** Grows with each change of the event while it waits. */
  readonly revision: number;
  /** Number of exports that failed, without those in which the destination gave no answer and took no event. */
  readonly attempts: number;
  /** Undefined if the audit trail no longer has the event, because it is too old. */
  readonly event: AuditEvent | undefined;
}

/** Events that wait for one destination. */
export interface Backlog {
  /** Number of events, at most MOST_COUNTED. */
  readonly waiting: number;
  /** How long the oldest of them has waited; 0 if none waits. */
  readonly oldestAgeMs: number;
}

/** Maximum events of one subject that `next` returns at once, so that a busy subject leaves room for others. */
export const MOST_OF_SUBJECT = 25;

/** A larger backlog is not counted to its end. */
export const MOST_COUNTED = 10_000;

/**
 * Stores the queue of events that wait for their export. The stores that record an event write the queue's rows, in the
 * same transaction, once a destination has been led for the first time.
 */
export interface ExportStore {
  /**
   * Makes `holder` the one that exports to the destination for the next `leaseMs`, if it is so already, or if no other
   * holder is.
   *
   * @returns whether it is
   * @throws DATABASE_UNAVAILABLE
   */
  lead(destination: DestinationName, holder: string, leaseMs: number): Promise<boolean>;
  /** Ends the lease of `holder`, if it has it. @throws DATABASE_UNAVAILABLE */
  resign(destination: DestinationName, holder: string): Promise<void>;
  /**
   * Up to `size` events that are due. Events of one subject are in order, and none of them is behind a delayed one. The
   * first event of each subject comes before the second of any, and those with fewer attempts before others. Subjects
   * take turns: if too many wait for one call, the next call goes on with the others. @throws DATABASE_UNAVAILABLE
   */
  next(destination: DestinationName, size: number): Promise<readonly QueuedEvent[]>;
  /**
   * Takes these events from the queue, except those that have changed since they were read.
   *
   * @throws DATABASE_UNAVAILABLE
   */
  remove(events: readonly QueuedEvent[]): Promise<void>;
  /**
   * Takes some events from the queue that the audit trail has deleted: those among the first of the destination.
   *
   * @returns their number, 0 if the first ones all exist
   * @throws DATABASE_UNAVAILABLE
   */
  removeLost(destination: DestinationName): Promise<number>;
  /** Makes the event due in `delayMs`, and counts an attempt. @throws DATABASE_UNAVAILABLE */
  delay(event: QueuedEvent, delayMs: number): Promise<void>;
  /** @throws DATABASE_UNAVAILABLE */
  backlog(destination: DestinationName): Promise<Backlog>;
  /**
   * Forgets the destinations that no process has led for `idleMs`, and deletes some of the events that wait for a
   * forgotten destination.
   *
   * @returns the number of deleted events, 0 if none is left
   */
  forget(idleMs: number): Promise<number>;
}
