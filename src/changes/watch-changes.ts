import { DomainError } from "../lib/errors.ts";
import type { CommittedChange } from "./change.ts";
import type { ChangeFeed, Cursor, FeedStep } from "./change-feed.ts";
import type { ChangeStore } from "./change-store.ts";
import { cursorText, parseCursor } from "./cursor-text.ts";
import type { DatabaseClock } from "./database-clock.ts";

export interface WatchChangesDeps {
  readonly feed: Pick<ChangeFeed, "subscribe" | "cursor" | "position">;
  readonly store: Pick<ChangeStore, "poll" | "endedSessions">;
  readonly databaseClock: DatabaseClock;
  /** Life of an access token: sessions that ended within it may still have one that verifies. */
  readonly accessTokenMs: number;
  /** Watches that run. */
  readonly watches: WatchCount;
}

/** How many watches run in this process. */
export interface WatchCount {
  running: number;
}

export interface WatchInput {
  /** Of the last message that was handled; empty to start now. */
  readonly cursor: string;
  readonly signal: AbortSignal;
}

/** One message to a watcher. Without changes it says that there were none. */
export interface WatchMessage {
  readonly cursor: string;
  readonly changes: readonly CommittedChange[];
  /** Changes may have been missed: drop everything that was kept. */
  readonly resync: boolean;
  readonly asOfMs: number;
  readonly position: bigint;
}

const MAX_WATCHES = 1000;
/** A watcher that is so far behind is cut: it comes back with its cursor, and memory stays bounded. */
const MAX_WAITING_STEPS = 64;
const MAX_WAITING_CHANGES = 10_000;
const CHANGES_PER_MESSAGE = 1000;

/**
 * Tells a client of changes, from a cursor on. Nothing is lost between the read that catches up and the live feed: the
 * feed is subscribed first, so that what happens in between comes twice rather than never. All watchers live on the polls
 * that the process makes anyway.
 *
 * @throws INVALID_FIELD for a malformed cursor, OVERLOADED for too many watches or one that does not keep up,
 *         DATABASE_UNAVAILABLE if it can't catch up
 */
export async function* watchChanges(deps: WatchChangesDeps, input: WatchInput): AsyncGenerator<WatchMessage> {
  const since = input.cursor === "" ? undefined : parseCursor(input.cursor);
  if (deps.watches.running >= MAX_WATCHES)
    throw new DomainError("OVERLOADED", "too many watches", { retryAfterMs: 1000 });
  deps.watches.running++;
  const queue = new StepQueue(input.signal);
  const unsubscribe = deps.feed.subscribe((step) => queue.push(step));
  try {
    yield* catchUp(deps, since);
    for (;;) {
      const step = await queue.shift();
      if (step === undefined) return;
      if (step.resync) yield* startAnew(deps, step);
      else yield* split(step);
    }
  } finally {
    unsubscribe();
    deps.watches.running--;
  }
}

/** From the client's cursor to now, by one read. */
async function* catchUp(deps: WatchChangesDeps, since: Cursor | undefined): AsyncGenerator<WatchMessage> {
  const poll = await deps.store.poll(since?.snapshot);
  // A standby may be behind: what it shows must not become anybody's cursor.
  if (poll.isInRecovery) throw new DomainError("DATABASE_UNAVAILABLE", "the database is a standby");
  const here = { epoch: poll.epoch, snapshot: poll.snapshot };
  const step: FeedStep = {
    cursor: here,
    changes: poll.changes,
    resync: false,
    asOfMs: poll.databaseMs,
    position: poll.xmin,
  };
  if (since === undefined) yield* startAnew(deps, step);
  else if (poll.hasGap || !isSameEpoch(since, here) || poll.xmax < xmaxOf(since))
    yield* startAnew(deps, { ...step, resync: true });
  else yield* split(step);
}

/** A client that keeps access tokens valid by their signature must know which sessions have ended already. */
async function* startAnew(deps: WatchChangesDeps, step: FeedStep): AsyncGenerator<WatchMessage> {
  const changes = await deps.store.endedSessions(deps.accessTokenMs);
  yield* split({ ...step, changes: [...changes] });
}

/** Large steps go in parts; only the last one carries the new cursor, so that a client cut in between loses nothing. */
function* split(step: FeedStep): Generator<WatchMessage> {
  const { changes, resync, asOfMs, position } = step;
  const cursor = cursorText(step.cursor);
  for (let from = 0; from + CHANGES_PER_MESSAGE < changes.length; from += CHANGES_PER_MESSAGE) {
    const part = changes.slice(from, from + CHANGES_PER_MESSAGE);
    yield { cursor: "", changes: part, resync: resync && from === 0, asOfMs: 0, position: 0n };
  }
  const last = Math.max(0, Math.ceil(changes.length / CHANGES_PER_MESSAGE) - 1) * CHANGES_PER_MESSAGE;
  yield { cursor, changes: changes.slice(last), resync: resync && last === 0, asOfMs, position };
}

function isSameEpoch(a: Cursor, b: Cursor): boolean {
  return a.epoch.systemId === b.epoch.systemId && a.epoch.timeline === b.epoch.timeline;
}

/** A cursor above all that there is now is of a history that was undone. */
function xmaxOf({ snapshot }: Cursor): bigint {
  return BigInt(snapshot.split(":")[1]!);
}

/** Steps that a watcher has not been told of. */
class StepQueue {
  readonly #steps: FeedStep[] = [];
  readonly #signal: AbortSignal;
  #waiting = 0;
  #isCut = false;
  #wake: () => void = () => {};

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  push(step: FeedStep): void {
    if (this.#isCut) return;
    // A beat that nobody has read yet is overtaken by the next one.
    if (this.#steps.at(-1)?.changes.length === 0 && !this.#steps.at(-1)?.resync) this.#steps.pop();
    this.#steps.push(step);
    this.#waiting += step.changes.length;
    this.#isCut = this.#steps.length > MAX_WAITING_STEPS || this.#waiting > MAX_WAITING_CHANGES;
    if (this.#isCut) this.#steps.length = 0;
    this.#wake();
  }

  /** The next step; undefined once the watch was given up. @throws OVERLOADED if it was cut */
  async shift(): Promise<FeedStep | undefined> {
    while (this.#steps.length === 0 && !this.#isCut && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#isCut) {
      throw new DomainError("OVERLOADED", "the watch does not keep up; resume with the last cursor", {
        retryAfterMs: 0,
      });
    }
    if (this.#signal.aborted) return undefined;
    const step = this.#steps.shift()!;
    this.#waiting -= step.changes.length;
    return step;
  }
}
