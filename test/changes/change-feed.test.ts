import { describe, expect, it } from "vitest";
import type { Change } from "../../src/changes/change.ts";
import { ChangeBus } from "../../src/changes/change.ts";
import { ChangeFeed, type ChangeFeedDeps, type FeedStep } from "../../src/changes/change-feed.ts";
import type { Poll } from "../../src/changes/change-store.ts";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { SkippingClock } from "../../src/lib/clock.ts";
import { VirtualTime } from "../simulation/virtual-time.ts";
import { recordingLog } from "../support/recording-log.ts";

const EPOCH = { systemId: "7", timeline: 1, incarnation: "a" };
const EMPTY: Poll = {
  epoch: EPOCH,
  snapshot: "10:10:",
  xmin: 10n,
  xmax: 10n,
  databaseMs: 0,
  isInRecovery: false,
  hasGap: false,
  changes: [],
};
const CHANGE = { kind: "KEY", subjectId: "key_a", changedAtMs: 0, position: 10n } as const;

/** A feed on a database that answers each poll immediately with what the test sets, in virtual time. */
async function startFeed() {
  const time = new VirtualTime();
  const clock = new SkippingClock({ nowMs: () => time.nowMs, monotonicMs: () => time.nowMs });
  const log = recordingLog();
  const bus = new ChangeBus();
  const heard: (Change | "everything")[] = [];
  bus.add({ apply: (change) => heard.push(change), clear: () => heard.push("everything") });
  const database = {
    poll: EMPTY,
    isListening: true,
    polledAtMs: [] as number[],
    signal: () => {},
    held: Promise.resolve(),
  };
  const store: ChangeFeedDeps["store"] = {
    poll: async () => {
      database.polledAtMs.push(time.nowMs);
      const { poll, held } = database;
      await held;
      return poll;
    },
    listen: (onSignal) => {
      database.signal = onSignal;
      return () => {};
    },
    get isListening() {
      return database.isListening;
    },
  };
  const timers = {
    after: (ms: number, run: () => void) => {
      let isCancelled = false;
      time.after(ms, () => isCancelled || run());
      return () => {
        isCancelled = true;
      };
    },
    nextTurn: (run: () => void) => time.after(0, run),
  };
  const breaker = new DatabaseBreaker(clock, timers, () => new Promise(() => {}));
  const feed = new ChangeFeed({
    store,
    bus,
    breaker,
    clock,
    databaseClock: new DatabaseClock(clock),
    timers,
    log,
    settings: "a",
  });
  const steps: FeedStep[] = [];
  feed.subscribe((step) => steps.push(step));
  await feed.start();
  heard.length = 0;
  steps.length = 0;
  const runUntil = (ms: number) => time.runUntil(ms, () => false);
  return { feed, time, database, heard, steps, log, runUntil };
}

describe("ChangeFeed", () => {
  it("polls once a second, and four times a second while no signals arrive", async () => {
    const { database, runUntil } = await startFeed();
    await runUntil(3_500);
    expect(database.polledAtMs).toEqual([0, 1000, 2000, 3000]);
    database.isListening = false;
    await runUntil(5_000);
    expect(database.polledAtMs.slice(4)).toEqual([4000, 4250, 4500, 4750, 5000]);
  });

  it("polls immediately at a signal, and once for all signals that come within 10 ms", async () => {
    const { database, time, runUntil } = await startFeed();
    for (let n = 0; n < 100; n++) time.after(500 + n / 20, () => database.signal());
    await runUntil(1_000);
    expect(database.polledAtMs).toEqual([0, 500, 510]);
  });

  it("polls again soon if a signal came during a poll, because that poll's snapshot may be older", async () => {
    const { database, time, heard, runUntil } = await startFeed();
    const { promise, resolve } = Promise.withResolvers<void>();
    database.held = promise;
    time.after(1_100, () => {
      database.poll = { ...EMPTY, changes: [CHANGE] };
      database.signal();
    });
    time.after(1_300, resolve);
    await runUntil(1_400);
    expect(database.polledAtMs).toEqual([0, 1000, 1310]);
    expect(heard).toEqual([CHANGE]);
  });

  it("counts a slow poll as of the time when it was sent", async () => {
    const { database, time, feed, runUntil } = await startFeed();
    const { promise, resolve } = Promise.withResolvers<void>();
    database.held = promise;
    time.after(2_900, resolve);
    await runUntil(2_850);
    expect(feed.freshAtMs).toBe(0);
    await runUntil(2_905);
    expect(feed.freshAtMs).toBe(1000);
  });

  it.each<[what: string, poll: Partial<Poll>]>([
    ["another cluster", { epoch: { ...EPOCH, systemId: "8" } }],
    ["another timeline", { epoch: { ...EPOCH, timeline: 2 } }],
    ["a crash after which more ids were used than were lost", { epoch: { ...EPOCH, incarnation: "b" }, xmax: 99n }],
    ["a history that is behind", { xmax: 9n }],
    ["a gap in the changes", { hasGap: true }],
  ])("drops every copy and sends resync to watchers after %s", async (_what, poll) => {
    const { database, feed, heard, steps, runUntil } = await startFeed();
    database.poll = { ...EMPTY, ...poll, changes: [CHANGE] };
    await runUntil(1_000);
    expect(heard).toEqual(["everything"]);
    expect(steps).toMatchObject([{ resync: true, changes: [] }]);
    database.poll = { ...database.poll, hasGap: false, changes: [] };
    await runUntil(2_000);
    expect(heard, "only once").toEqual(["everything"]);
    expect(feed.historyChanges).toBe(1);
  });

  it("tells copies before watchers, and tells neither what a standby shows", async () => {
    const { database, feed, heard, steps, runUntil } = await startFeed();
    database.poll = { ...EMPTY, isInRecovery: true, changes: [CHANGE] };
    await runUntil(1_000);
    expect({ heard, steps, isFailing: feed.isFailing }).toEqual({ heard: [], steps: [], isFailing: true });
    expect(feed.failures).toBeGreaterThanOrEqual(1);
    database.poll = { ...EMPTY, changes: [CHANGE] };
    feed.subscribe(() => expect(heard).toEqual([CHANGE]));
    await runUntil(2_000);
    expect(steps).toMatchObject([{ resync: false, changes: [CHANGE] }]);
    expect(feed.isFailing).toBe(false);
  });

  it("warns once of a transaction that is open for a minute, and once of the next one", async () => {
    const { database, feed, log, runUntil } = await startFeed();
    const held = () => log.lines.filter(({ message }) => message.includes("open for over a minute")).length;
    database.poll = { ...EMPTY, xmax: 11n };
    await runUntil(59_000);
    expect({ warnings: held(), stillMs: feed.stillMs }).toEqual({ warnings: 0, stillMs: 59_000 });
    await runUntil(180_000);
    expect({ warnings: held(), stillMs: feed.stillMs }).toEqual({ warnings: 1, stillMs: 180_000 });
    database.poll = { ...EMPTY, xmin: 12n, xmax: 13n };
    await runUntil(181_000);
    expect(feed.stillMs).toBe(0);
    await runUntil(300_000);
    expect(held()).toBe(2);
  });

  it("has a position that moves with each complete transaction, also while an old one is open", async () => {
    const { database, feed, steps, runUntil } = await startFeed();
    expect(feed.position).toBe(10n);
    database.poll = { ...EMPTY, snapshot: "10:14:10,12", xmax: 14n };
    await runUntil(1_000);
    expect(feed.position).toBe(12n);
    database.poll = { ...EMPTY, snapshot: "10:14:10", xmax: 14n };
    await runUntil(2_000);
    expect(steps.map(({ position }) => position)).toEqual([10n, 12n, 13n].slice(-steps.length));
  });

  it("has an epoch of its own for each history", async () => {
    const { database, feed, steps, runUntil } = await startFeed();
    const first = feed.epoch;
    expect(first).not.toBe(0n);
    await runUntil(1_000);
    expect(feed.epoch).toBe(first);
    database.poll = { ...EMPTY, epoch: { ...EPOCH, timeline: 2 } };
    await runUntil(2_000);
    expect(feed.epoch).not.toBe(first);
    expect(steps.at(-1)).toMatchObject({ resync: true, epoch: feed.epoch });
  });

  it("never warns while no transaction runs", async () => {
    const { feed, log, runUntil } = await startFeed();
    await runUntil(300_000);
    expect({ lines: log.lines, stillMs: feed.stillMs }).toEqual({ lines: [], stillMs: 0 });
  });
});
