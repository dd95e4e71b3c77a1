import type { AgeClock, Timers } from "../lib/clock.ts";
import { DomainError, reasonOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ChangeBus, CommittedChange } from "./change.ts";
import { type ChangeStore, type Cursor, cursorOf, isSameEpoch, type Poll } from "./change-store.ts";
import type { DatabaseBreaker } from "./database-breaker.ts";
import type { DatabaseClock } from "./database-clock.ts";

export interface ChangeFeedDeps {
  readonly store: Pick<ChangeStore, "poll" | "listen" | "isListening">;
  /** Copies that are kept fresh. */
  readonly bus: ChangeBus;
  readonly breaker: DatabaseBreaker;
  readonly clock: AgeClock;
  readonly databaseClock: DatabaseClock;
  readonly timers: Timers;
  readonly log: Log;
}

/** What one good poll brought. */
export interface FeedStep {
  readonly cursor: Cursor;
  readonly changes: readonly CommittedChange[];
  /** Changes may have been missed: everything may have changed. */
  readonly resync: boolean;
  /** The database's time at which the poll was sent: everything committed before is in. */
  readonly asOfMs: number;
  readonly position: bigint;
}

const POLL_EVERY_MS = 1000;
/** While signals don't arrive. */
const POLL_DEAF_EVERY_MS = 250;
/** Between two polls, however many signals come: what each costs here, in the database and with every watcher is bounded. */
const REST_MS = 10;
/** A position that stands still so long means an old write transaction somewhere in the cluster. */
const STILL_WARNING_MS = 60_000;

/**
 * Reads the log of changes and tells the copies. A poll that reads to the end of its snapshot proves that every copy that
 * was not told of a change is as of the moment at which the poll was **sent**: with that, records stay fresh without
 * being read again, and the database's load does not grow with the number of hot keys.
 */
export class ChangeFeed {
  readonly #deps: ChangeFeedDeps;
  readonly #subscribers = new Set<(step: FeedStep) => void>();
  #cursor: Cursor | undefined;
  #xmax = 0n;
  #position = 0n;
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

  constructor(deps: ChangeFeedDeps) {
    this.#deps = deps;
  }

  /** `elapsedMs` of the clock as of which every copy that was not dropped is true. */
  get freshAtMs(): number {
    return this.#freshAtMs;
  }

  /** All changes of lower position are in every copy. */
  get position(): bigint {
    return this.#position;
  }

  /** How long an old write transaction, anywhere in the cluster, has held the position. */
  get stillMs(): number {
    return this.#deps.clock.monotonicMs() - this.#movedAtMs;
  }

  /** Whether the last poll failed: news of changes does not come through. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  get cursor(): Cursor | undefined {
    return this.#cursor;
  }

  /** Listens and polls from now on. Resolves after the first poll, good or not. */
  async start(): Promise<void> {
    this.#isStopped = false;
    this.#movedAtMs = this.#deps.clock.monotonicMs();
    this.#stopListening = this.#deps.store.listen(() => this.poke());
    await this.#poll();
  }

  /** Polls now, or soon after the poll that is under way, whose snapshot may be older than what happened. */
  poke(): void {
    if (this.#isStopped) return;
    if (this.#polling !== undefined || this.#isResting) this.#isPollWanted = true;
    else void this.#poll();
  }

  /** Is told of each good poll, after the copies were. @returns ends it */
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
    const sentAtMs = clock.elapsedMs();
    try {
      const poll = await store.poll(this.#cursor?.snapshot);
      if (poll.isInRecovery) throw new DomainError("DATABASE_UNAVAILABLE", "the database is a standby");
      this.#take(poll, sentAtMs);
      if (this.#isFailing) log.info("the database answers the change feed again");
      this.#isFailing = false;
      breaker.succeeded();
    } catch (error) {
      // This opens no breaker: whether records can be read is for reads to find out, on connections of their own. A feed
      // that alone is cut off must not have keys served as stale that the database would say are revoked.
      if (!this.#isFailing) log.warn("the database does not answer the change feed", { reason: reasonOf(error) });
      this.#isFailing = true;
    }
  }

  #take(poll: Poll, sentAtMs: number): void {
    const { bus, databaseClock } = this.#deps;
    // What was read before the first poll may have changed before it, and no poll will tell.
    const resync = this.#cursor === undefined || this.#hasLostHistory(poll);
    databaseClock.observe(poll.databaseMs, sentAtMs);
    if (resync) bus.clear();
    else bus.publish(poll.changes);
    // Once the copies know: what one of them could not take would otherwise be behind the cursor, and count as proven.
    this.#cursor = cursorOf(poll);
    this.#xmax = poll.xmax;
    this.#move(poll.xmin, resync);
    this.#freshAtMs = sentAtMs;
    const step: FeedStep = {
      cursor: this.#cursor,
      changes: resync ? [] : poll.changes,
      resync,
      asOfMs: databaseClock.at(sentAtMs),
      position: poll.xmin,
    };
    for (const tell of this.#subscribers) tell(step);
  }

  /**
   * In another epoch transactions may be gone that copies know of, and their ids may be given again. Lower ids in the
   * same epoch show a machine that was set back with its memory.
   */
  #hasLostHistory(poll: Poll): boolean {
    const before = this.#cursor;
    if (before === undefined) return false;
    const isOtherEpoch = !isSameEpoch(before.epoch, poll.epoch);
    const isBehind = poll.xmax < this.#xmax;
    if (!isOtherEpoch && !isBehind && !poll.hasGap) return false;
    this.#deps.log.warn("the database's history changed; every record is read again", {
      other_epoch: isOtherEpoch,
      behind: isBehind,
      too_much_or_too_old: poll.hasGap,
    });
    return true;
  }

  #move(position: bigint, resync: boolean): void {
    // Where no transaction is under way there is nothing to wait for.
    if (resync || position > this.#position || position === this.#xmax) {
      this.#movedAtMs = this.#deps.clock.monotonicMs();
      this.#hasWarned = false;
    } else if (!this.#hasWarned && this.stillMs > STILL_WARNING_MS) {
      this.#hasWarned = true;
      this.#deps.log.warn("an old write transaction holds the position of the change feed; nothing else is delayed", {
        position: position.toString(),
      });
    }
    this.#position = position;
  }
}
