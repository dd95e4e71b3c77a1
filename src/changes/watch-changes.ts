import type { AgeClock, Timers } from "../lib/clock.ts";
import { databaseUnavailable } from "../lib/errors.ts";
import { SharedReads } from "../lib/shared-reads.ts";
import type { CommittedChange } from "./change.ts";
import type { ChangeFeed, FeedStep } from "./change-feed.ts";
import { type ChangeStore, type Cursor, cursorOf, isSameEpoch, type Poll } from "./change-store.ts";
import { cursorText, parseCursor } from "./cursor-text.ts";
import { leastMsBetween, type Moment, momentOf } from "./freshness.ts";
import { positionOf, xmaxOf } from "./snapshot.ts";
import { StepQueue } from "./step-queue.ts";

/** Four of these reads keep a database of two cores busy, because a read may return MAX_CHANGES_PER_POLL changes. */
const MAX_READS = 2;
/** A message takes about 1 ms, and four may be made in one turn of the event loop. */
const CHANGES_PER_MESSAGE = 250;
export interface WatchChangesDeps {
  readonly feed: Pick<ChangeFeed, "subscribe" | "cursor" | "epochOf">;
  readonly store: Pick<ChangeStore, "catchUp" | "endedSessions">;
  readonly clock: AgeClock;
  readonly timers: Timers;
  /** Lifetime of an access token. A session that ended within this time may still have a token that verifies. */
  readonly accessTokenMs: number;
  /** The watches of this process. */
  readonly watches: Watches;
}

/** The state that all watches of one process share. */
export class Watches {
  /** Number of running watches. */
  running = 0;
  /** Number of watches since the start that were cut off because they did not keep up. */
  cut = 0;
  /**
   * Reads of the database. After a restart all watchers come back at the same time, mostly with the same few cursors.
   */
  readonly reads = new SharedReads(MAX_READS);
}

export interface WatchInput {
  /** The cursor of the last message that the client handled; empty to start now. */
  readonly cursor: string;
  readonly signal: AbortSignal;
}

/** One message to a watcher. Without changes, it says that nothing changed. */
export interface WatchMessage {
  readonly cursor: string;
  readonly changes: readonly CommittedChange[];
  /** True if changes may have been missed: the client must drop all copies. */
  readonly resync: boolean;
  /** As of when every change was sent; only of use with a cursor. */
  readonly asOfMs: number;
  /** The position of the poll that this message tells of. */
  readonly position: bigint;
  /** The epoch of that poll, as `epochNumber`. */
  readonly epoch: bigint;
  /** The time from the receipt of the client's request to the sending of that poll, never too large. */
  readonly asOfElapsedMs: number;
}

/**
 * Tells a client of all changes after its cursor. The watch subscribes to the feed before it reads the changes so far.
 * So a change in between comes twice instead of being lost. Watchers cause no further polls of the feed.
 *
 * @throws INVALID_FIELD for a malformed cursor; OVERLOADED for a watch that does not keep up; DATABASE_UNAVAILABLE if
 *   it can't catch up
 */
export async function* watchChanges(deps: WatchChangesDeps, input: WatchInput): AsyncGenerator<WatchMessage> {
  const receivedAt = momentOf(deps.clock);
  for await (const { sentAt, ...told } of stepsOf(deps, input)) {
    yield { ...told, asOfElapsedMs: leastMsBetween(receivedAt, sentAt) };
  }
}

/** A step as a message, before it is known how long after the request its poll was sent. */
type ToldStep = Omit<WatchMessage, "asOfElapsedMs"> & { readonly sentAt: Moment };

async function* stepsOf(deps: WatchChangesDeps, input: WatchInput): AsyncGenerator<ToldStep> {
  const since = input.cursor === "" ? undefined : parseCursor(input.cursor);
  deps.watches.running++;
  const queue = new StepQueue(deps.timers, input.signal, () => deps.watches.cut++);
  const unsubscribe = deps.feed.subscribe((step) => queue.push(step));
  try {
    let epoch = 0n;
    for await (const told of catchUp(deps, since, queue)) {
      epoch = told.epoch;
      yield told;
    }
    for (;;) {
      queue.rest();
      const step = await queue.take();
      if (step === undefined) return;
      if (step.resync || step.epoch !== epoch) yield* beginStream(deps, { ...step, resync: true });
      else yield* split(step);
      epoch = step.epoch;
    }
  } finally {
    unsubscribe();
    queue.close();
    deps.watches.running--;
  }
}

/** Reads the changes from the client's cursor to now, with one statement. */
async function* catchUp(
  deps: WatchChangesDeps,
  since: ReturnType<typeof parseCursor> | undefined,
  queue: StepQueue,
): AsyncGenerator<ToldStep> {
  const known =
    since === undefined || since === "of another version" || isOfOtherHistory(deps, since) ? undefined : since;
  const { poll, sentAt } = await readFrom(deps, known?.snapshot, queue);
  // A standby may be behind, so its snapshot must not become a client's cursor.
  if (poll.isInRecovery) throw databaseUnavailable("the database is a standby");
  const step: FeedStep = {
    cursor: cursorOf(poll),
    changes: poll.changes,
    resync: false,
    asOfMs: poll.databaseMs,
    position: positionOf(poll.snapshot),
    epoch: deps.feed.epochOf(poll.epoch),
    sentAt,
  };
  if (since === undefined) yield* beginStream(deps, step);
  else if (known === undefined || poll.hasGap || isOfLostHistory(known, poll))
    yield* beginStream(deps, { ...step, resync: true });
  else yield* split(step);
}

/** A cursor above all present transactions means that a machine was set back together with its memory. */
function isOfLostHistory(since: Cursor, poll: Poll): boolean {
  return !isSameEpoch(since.epoch, poll.epoch) || poll.xmax < xmaxOf(since.snapshot);
}

/**
 * Whether the cursor is of another history, as far as this process knows: it may not have noticed a failover yet. The
 * snapshot of another history is useless here, and would make the database search all kept changes.
 */
function isOfOtherHistory({ feed }: WatchChangesDeps, { epoch }: Cursor): boolean {
  return feed.cursor !== undefined && !isSameEpoch(epoch, feed.cursor.epoch);
}

/**
 * Reads the changes since a snapshot. When the read is sent, drops the steps that came while it waited, because the
 * result includes them. If they were sent after the result, the client's cursor would go back, perhaps to a history
 * that was undone since.
 */
function readFrom(
  { store, watches, clock }: WatchChangesDeps,
  snapshot: string | undefined,
  queue: StepQueue,
): Promise<{ readonly poll: Poll; readonly sentAt: Moment }> {
  const send = async () => {
    const sentAt = momentOf(clock);
    return { poll: await store.catchUp(snapshot), sentAt };
  };
  return watches.reads.read(`since ${snapshot}`, send, () => queue.clear());
}

/**
 * Begins a client's stream, at its start and after a resync, with the sessions that have ended. A client that accepts
 * access tokens by their signature must know these sessions. Each page of them is read only when the client takes it,
 * so that memory never holds all of them.
 */
async function* beginStream(deps: WatchChangesDeps, step: FeedStep): AsyncGenerator<ToldStep> {
  const { store, watches, accessTokenMs } = deps;
  let { resync } = step;
  let after: CommittedChange | undefined;
  for (;;) {
    const from = after;
    const what = `ended sessions after ${from?.changedAtMs} ${from?.subjectId}`;
    const ended = await watches.reads.read(what, () => store.endedSessions(accessTokenMs, CHANGES_PER_MESSAGE, from));
    if (ended.length < CHANGES_PER_MESSAGE) return yield whole({ ...step, changes: ended, resync });
    yield part(step, ended, resync);
    resync = false;
    after = ended.at(-1);
  }
}

/**
 * Sends a large step in parts. Only the last part carries the new cursor, so that a client that is cut off in between
 * loses nothing.
 */
function* split(step: FeedStep): Generator<ToldStep> {
  const { changes } = step;
  let from = 0;
  for (; from + CHANGES_PER_MESSAGE < changes.length; from += CHANGES_PER_MESSAGE) {
    yield part(step, changes.slice(from, from + CHANGES_PER_MESSAGE), false);
  }
  yield whole({ ...step, changes: changes.slice(from) });
}

function part(step: FeedStep, changes: readonly CommittedChange[], resync: boolean): ToldStep {
  return { ...step, cursor: "", changes, resync };
}

function whole(step: FeedStep): ToldStep {
  return { ...step, cursor: cursorText(step.cursor) };
}
