import type { AgeClock, Timers } from "../lib/clock.ts";
import { databaseUnavailable, reasonOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ChangeBus, CommittedChange } from "./change.ts";
import { type ChangeStore, type Cursor, cursorOf, type Epoch, isSameEpoch, type Poll } from "./change-store.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";
import type { DatabaseClock } from "./database-clock.ts";
import { epochNumber } from "./epoch.ts";
import { type Moment, momentOf } from "./freshness.ts";
import { positionOf } from "./snapshot.ts";

export interface ChangeFeedDeps {
  readonly store: Pick<ChangeStore, "poll" | "listen" | "isListening">;
  /** The copies that the feed keeps fresh. */
  readonly bus: ChangeBus;
  readonly breaker: DatabaseBreaker;
  readonly clock: AgeClock;
  readonly databaseClock: DatabaseClock;
  readonly timers: Timers;
  readonly log: Log;
  /** The settings that verdicts rest on, as text. They are part of the epoch. */
  readonly settings: string;
}

/** The result of one successful poll. */
export interface FeedStep {
  readonly cursor: Cursor;
  readonly changes: readonly CommittedChange[];
  /** True if the feed may have missed changes: then everything may have changed. */
  readonly resync: boolean;
  /** The database's time at which the poll was sent: all changes committed before are included. */
  readonly asOfMs: number;
  /** The position of the poll: all that a snapshot of it sees has been told. */
  readonly position: bigint;
  /** As `epochNumber`. */
  readonly epoch: bigint;
  /** When the poll was sent. */
  readonly sentAt: Moment;
}

const POLL_EVERY_MS = 1000;
/** Time between polls while the database's signals don't arrive. */
const POLL_DEAF_EVERY_MS = 250;
/**
 * Minimum time between two polls. It bounds what signals cost in this process, in the database and for every watcher.
 */
const REST_MS = 10;
/** How long xmin may stand still before the feed warns: an old write transaction is open somewhere in the cluster. */
const STILL_WARNING_MS = 60_000;

/**
 * Polls the log of changes and tells every copy. A poll reads to the end of its snapshot. So it proves that a copy
 * without news is true as of the moment at which the poll was **sent**. Records therefore stay fresh without being read
 * again, and the load of the database does not grow with the number of hot keys.
 */
export class ChangeFeed {
  readonly #deps: ChangeFeedDeps;
  readonly #subscribers = new Set<(step: FeedStep) => void>();
  #cursor: Cursor | undefined;
  #xmin = 0n;
  #xmax = 0n;
  #position = 0n;
  #epoch = 0n;
  #movedAtMs = 0;
  #hasWarned = false;
  #isFailing = false;
  #freshAtMs = Number.NEGATIVE_INFINITY;
  #polling: Promise<void> | undefined;
  #isResting = false;
  #isPollWanted = false;
  #cancelTimer: () => void = () => {};
  #stopListening: () => void = () => {};
  #isStopped = true;
  #failures = 0;
  #historyChanges = 0;

  constructor(deps: ChangeFeedDeps) {
    this.#deps = deps;
  }

  /** The time, by `elapsedMs`, as of which every copy that was not dropped is true. */
  get freshAtMs(): number {
    return this.#freshAtMs;
  }

  /** Every copy contains all that a snapshot of this position sees. */
  get position(): bigint {
    return this.#position;
  }

  /** The epoch of the position; 0 before the first poll. */
  get epoch(): bigint {
    return this.#epoch;
  }

  /** The number of an epoch of the database under this process's settings. */
  epochOf(epoch: Epoch): bigint {
    const { cursor } = this;
    return cursor !== undefined && isSameEpoch(cursor.epoch, epoch)
      ? this.#epoch
      : epochNumber(epoch, this.#deps.settings);
  }

  /** How long xmin has stood still, as it does while an old write transaction is open in the cluster. */
  get stillMs(): number {
    return this.#deps.clock.monotonicMs() - this.#movedAtMs;
  }

  /** Whether the last poll failed, so that no news of changes arrives. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** Whether the database's signals arrive, so that polls need not be frequent. */
  get isListening(): boolean {
    return this.#deps.store.isListening;
  }

  /** Number of polls that failed since the start. */
  get failures(): number {
    return this.#failures;
  }

  /** How often the database lost history since the start, as after a failover or a restore. */
  get historyChanges(): number {
    return this.#historyChanges;
  }

  get cursor(): Cursor | undefined {
    return this.#cursor;
  }

  /** Starts to listen and to poll. Resolves after the first poll, whether it succeeded or not. */
  async start(): Promise<void> {
    this.#isStopped = false;
    this.#movedAtMs = this.#deps.clock.monotonicMs();
    this.#stopListening = this.#deps.store.listen(() => this.poke());
    await this.#poll();
  }

  /** Polls now. If a poll is under way, polls again soon after it, because its snapshot may be too old. */
  poke(): void {
    if (this.#isStopped) return;
    if (this.#polling !== undefined || this.#isResting) this.#isPollWanted = true;
    else void this.#poll();
  }

  /** Calls `onStep` for each successful poll, after the copies were told. @returns a function that ends this */
  subscribe(onStep: (step: FeedStep) => void): () => void {
    this.#subscribers.add(onStep);
    return () => this.#subscribers.delete(onStep);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopListening();
    this.#cancelTimer();
    await this.#polling;
  }

  #poll(): Promise<void> {
    this.#cancelTimer();
    this.#isPollWanted = false;
    this.#polling = this.#pollOnce().finally(() => {
      this.#polling = undefined;
      if (!this.#isStopped) this.#rest();
    });
    return this.#polling;
  }

  #rest(): void {
    const { timers } = this.#deps;
    this.#isResting = true;
    this.#cancelTimer = timers.after(REST_MS, () => {
      this.#isResting = false;
      if (this.#isPollWanted) void this.#poll();
      else this.#cancelTimer = timers.after(this.#pauseMs() - REST_MS, () => void this.#poll());
    });
  }

  #pauseMs(): number {
    return this.#deps.store.isListening ? POLL_EVERY_MS : POLL_DEAF_EVERY_MS;
  }

  async #pollOnce(): Promise<void> {
    const { store, breaker, clock, log } = this.#deps;
    const sentAt = momentOf(clock);
    try {
      const poll = await store.poll(this.#cursor?.snapshot);
      if (poll.isInRecovery) throw databaseUnavailable("the database is a standby");
      this.#take(poll, sentAt);
      if (this.#isFailing) log.info("the database is reachable again for the change feed");
      this.#isFailing = false;
      breaker.succeeded();
    } catch (error) {
      // This opens no breaker. Reads use other connections, and find out by themselves whether the database is
      // reachable. If only the feed is cut off, the database still reports revoked keys, so no stale record may be
      // served.
      if (!this.#isFailing) log.warn("the database is unreachable for the change feed", { reason: reasonOf(error) });
      this.#isFailing = true;
      this.#failures++;
    }
  }

  #take(poll: Poll, sentAt: Moment): void {
    const { bus, databaseClock } = this.#deps;
    const sentAtMs = sentAt.elapsedMs;
    // Records read before the first poll may have changed before it, and no poll would report that.
    const resync = this.#cursor === undefined || this.#hasLostHistory(poll);
    databaseClock.observe(poll.databaseMs, sentAtMs);
    if (resync) bus.clear();
    else bus.publish(poll.changes);
    // Set only after the copies were told. Otherwise a change that a copy failed to take would lie behind the cursor,
    // and the copy would count as proven.
    this.#epoch = this.epochOf(poll.epoch);
    this.#cursor = cursorOf(poll);
    this.#xmax = poll.xmax;
    this.#position = positionOf(poll.snapshot);
    this.#moveXmin(poll.xmin, resync);
    this.#freshAtMs = sentAtMs;
    const step: FeedStep = {
      cursor: this.#cursor,
      changes: resync ? [] : poll.changes,
      resync,
      asOfMs: databaseClock.at(sentAtMs),
      position: this.#position,
      epoch: this.#epoch,
      sentAt,
    };
    for (const tell of this.#subscribers) tell(step);
  }

  /**
   * Whether the database lost history. In another epoch, transactions that copies know of may be lost, and their ids
   * may be used again. Lower ids in the same epoch mean that a machine was set back together with its memory.
   */
  #hasLostHistory(poll: Poll): boolean {
    const before = this.#cursor;
    if (before === undefined) return false;
    const isOtherEpoch = !isSameEpoch(before.epoch, poll.epoch);
    const isBehind = poll.xmax < this.#xmax;
    if (!isOtherEpoch && !isBehind && !poll.hasGap) return false;
    this.#historyChanges++;
    this.#deps.log.warn("the database's history changed; every record is read again", {
      other_epoch: isOtherEpoch,
      behind: isBehind,
      too_much_or_too_old: poll.hasGap,
    });
    return true;
  }

  #moveXmin(xmin: bigint, resync: boolean): void {
    // If no transaction is under way, xmin has nothing to wait for.
    if (resync || xmin > this.#xmin || xmin === this.#xmax) {
      this.#movedAtMs = this.#deps.clock.monotonicMs();
      this.#hasWarned = false;
    } else if (!this.#hasWarned && this.stillMs > STILL_WARNING_MS) {
      this.#hasWarned = true;
      this.#deps.log.warn("a write transaction has been open for over a minute; the change feed does not wait for it", {
        xmin: xmin.toString(),
      });
    }
    this.#xmin = xmin;
  }
}
