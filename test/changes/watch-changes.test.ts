import { describe, expect, it } from "vitest";
import type { CommittedChange } from "../../src/changes/change.ts";
import type { FeedStep } from "../../src/changes/change-feed.ts";
import { type Epoch, MAX_CHANGES_PER_POLL, type Poll } from "../../src/changes/change-store.ts";
import { cursorText } from "../../src/changes/cursor-text.ts";
import { momentOf } from "../../src/changes/freshness.ts";
import { Watches, type WatchMessage, watchChanges } from "../../src/changes/watch-changes.ts";
import type { Timers } from "../../src/lib/clock.ts";
import { StandingClock } from "../support/shifted-clock.ts";

const EPOCH = { systemId: "7", timeline: 1, incarnation: "00000000-0000-4000-8000-000000000001" };
const POLL: Poll = {
  epoch: EPOCH,
  snapshot: "20:20:",
  xmin: 20n,
  xmax: 20n,
  databaseMs: 0,
  isInRecovery: false,
  hasGap: false,
  changes: [],
};
const CURSOR = cursorText({ epoch: EPOCH, snapshot: "10:10:" });
const ENDED: CommittedChange = { kind: "SESSION", subjectId: "ses_ended", changedAtMs: 0, position: 0n };
const ACCESS_TOKEN_MS = 900_000;

function changes(count: number): CommittedChange[] {
  return Array.from({ length: count }, (_, n) => ({
    ...{ kind: "KEY", subjectId: `key_${n}`, changedAtMs: 0, position: 15n },
  }));
}

/** Timers that end each rest immediately. */
const RESTLESS: Timers = {
  after: (_ms, run) => {
    queueMicrotask(run);
    return () => {};
  },
  nextTurn: () => {},
};

function setUp(poll: Poll = POLL, timers = RESTLESS) {
  const subscribers = new Set<(step: FeedStep) => void>();
  const asked: (string | undefined)[] = [];
  const database = { poll, reads: Promise.resolve(), ended: [ENDED], endedSessionsRead: 0 };
  const watches = new Watches();
  const clock = new StandingClock();
  const deps = {
    feed: {
      cursor: { epoch: EPOCH, snapshot: "19:19:" },
      epochOf: ({ timeline }: Epoch) => BigInt(timeline),
      subscribe: (tell: (step: FeedStep) => void) => {
        subscribers.add(tell);
        return () => subscribers.delete(tell);
      },
    },
    store: {
      catchUp: async (since: string | undefined) => {
        asked.push(since);
        await database.reads;
        return database.poll;
      },
      endedSessions: async (withinMs: number, limit: number, after: CommittedChange | undefined) => {
        expect(withinMs).toBe(ACCESS_TOKEN_MS);
        database.endedSessionsRead++;
        const from = after === undefined ? 0 : database.ended.indexOf(after) + 1;
        return database.ended.slice(from, from + limit);
      },
    },
    timers,
    clock,
    accessTokenMs: ACCESS_TOKEN_MS,
    watches,
  };
  const tell = (step: Partial<FeedStep>) => {
    const cursor = { epoch: EPOCH, snapshot: "30:30:" };
    const sentAt = momentOf(clock);
    const whole = { cursor, changes: [], resync: false, asOfMs: 0, position: 30n, epoch: 1n, sentAt, ...step };
    for (const each of subscribers) each(whole);
  };
  const watch = (cursor = "", signal = new AbortController().signal) => watchChanges(deps, { cursor, signal });
  return { clock, database, asked, watches, subscribers, tell, watch };
}

async function next(watch: AsyncGenerator<WatchMessage>): Promise<WatchMessage> {
  return (await watch.next()).value as WatchMessage;
}

describe("watchChanges", () => {
  it("begins with the ended sessions if there is no cursor, or with the changes since the cursor", async () => {
    const { watch } = setUp({ ...POLL, changes: changes(2) });
    expect(await next(watch())).toMatchObject({ changes: [ENDED], resync: false });
    expect(await next(watch(CURSOR))).toMatchObject({ changes: changes(2), resync: false, position: 20n });
  });

  it.each<[what: string, poll: Partial<Poll>]>([
    ["changes are missing since", { hasGap: true }],
    ["the timeline is another one", { epoch: { ...EPOCH, timeline: 2 } }],
    ["the incarnation is another one", { epoch: { ...EPOCH, incarnation: "00000000-0000-4000-8000-000000000002" } }],
    ["the cluster is another one", { epoch: { ...EPOCH, systemId: "8" } }],
    ["the cursor is ahead", { xmax: 9n }],
  ])("sends resync and the ended sessions to a client if %s", async (_what, poll) => {
    const { watch } = setUp({ ...POLL, ...poll });
    expect(await next(watch(CURSOR))).toMatchObject({ changes: [ENDED], resync: true });
  });

  it("tells in each message, parts included, the position and the epoch of its poll", async () => {
    const { database, tell, watch } = setUp({ ...POLL, snapshot: "20:29:21,25", changes: changes(300) });
    const open = watch(CURSOR);
    const told = { position: 27n, epoch: 1n };
    expect([await next(open), await next(open)]).toMatchObject([
      { ...told, cursor: "" },
      { ...told, cursor: cursorText({ epoch: EPOCH, snapshot: "20:29:21,25" }) },
    ]);
    database.ended = changes(250);
    tell({ resync: true, position: 30n });
    expect([await next(open), await next(open)]).toMatchObject([{ position: 30n }, { position: 30n }]);
  });

  it("sends resync to a client when the epoch of the feed is another one than before", async () => {
    const { tell, watch } = setUp();
    const open = watch(CURSOR);
    expect(await next(open)).toMatchObject({ resync: false, epoch: 1n });
    tell({ epoch: 2n });
    expect(await next(open)).toMatchObject({ resync: true, epoch: 2n, changes: [ENDED] });
    tell({ epoch: 2n, position: 31n });
    expect(await next(open)).toMatchObject({ resync: false, epoch: 2n, changes: [] });
  });

  it("measures from the receipt of the request to the sending of each poll", async () => {
    const { clock, tell, watch } = setUp();
    const earlier = momentOf(clock);
    clock.advance(300);
    const open = watch(CURSOR);
    expect(await next(open)).toMatchObject({ asOfElapsedMs: 0 });
    tell({ sentAt: earlier });
    expect(await next(open)).toMatchObject({ asOfElapsedMs: -300 });
    clock.advance(1_000);
    tell({ position: 31n });
    expect(await next(open)).toMatchObject({ asOfElapsedMs: 1_000 });
  });

  it("never claims too much time between request and poll, whatever the machine's clocks do meanwhile", async () => {
    const { clock, tell, watch } = setUp();
    const earlier = momentOf(clock);
    clock.suspend(60_000);
    const open = watch(CURSOR);
    await next(open);
    tell({ sentAt: earlier });
    expect(await next(open), "a suspension before the request").toMatchObject({ asOfElapsedMs: -60_000 });
    clock.jump(3_600_000);
    tell({ position: 31n });
    expect(await next(open), "a host's clock that was set forward").toMatchObject({ asOfElapsedMs: 0 });
  });

  it("sends resync and the ended sessions when the feed lost its history", async () => {
    const { tell, watch } = setUp();
    const open = watch(CURSOR);
    await next(open);
    tell({ resync: true });
    expect(await next(open)).toMatchObject({ changes: [ENDED], resync: true, position: 30n });
  });

  it.each([
    [249, [249]],
    [250, [250, 0]],
    [625, [250, 250, 125]],
  ])(
    "sends %d ended sessions in parts, reads each part when the client takes it, and puts the cursor in the last",
    async (count, parts) => {
      const { database, watch } = setUp({ ...POLL, hasGap: true });
      database.ended = changes(count);
      const open = watch(CURSOR);
      const told: WatchMessage[] = [];
      for (const [at] of parts.entries()) {
        told.push(await next(open));
        expect(database.endedSessionsRead, "reads no further than the client took").toBe(at + 1);
      }
      expect(told.map((message) => message.changes.length)).toEqual(parts);
      expect(told.flatMap((message) => message.changes)).toEqual(database.ended);
      expect(told.map((message) => message.cursor !== "")).toEqual(parts.map((_, at) => at === parts.length - 1));
      expect(told.map((message) => message.resync)).toEqual(parts.map((_, at) => at === 0));
    },
  );

  it("drops steps that came before the catch-up read was sent, because they would take the cursor back", async () => {
    const { database, asked, tell, watch } = setUp({ ...POLL, changes: changes(1) });
    const { promise, resolve } = Promise.withResolvers<void>();
    database.reads = promise;
    const from = (snapshot: string) => cursorText({ epoch: EPOCH, snapshot });
    const busy = [11, 12].map((xmin) => next(watch(from(`${xmin}:${xmin}:`))));
    const late = watch(CURSOR);
    const first = next(late);
    await expect.poll(() => asked.length).toBe(busy.length);
    const old = { ...ENDED, kind: "KEY", subjectId: "key_old" } as const;
    tell({ changes: [old], cursor: { epoch: EPOCH, snapshot: "15:15:" } });
    resolve();
    await Promise.all(busy);
    expect(await first).toMatchObject({ changes: changes(1), cursor: from("20:20:") });
    tell({ changes: [ENDED] });
    expect(await next(late)).toMatchObject({ changes: [ENDED], cursor: from("30:30:") });
  });

  it("does not search for the snapshot of another history", async () => {
    const { asked, watch } = setUp();
    const foreign = cursorText({ epoch: { ...EPOCH, systemId: "8" }, snapshot: "1:1:" });
    expect(await next(watch(foreign))).toMatchObject({ resync: true });
    expect(asked).toEqual([undefined]);
  });

  it("sends resync to a client that learned of a failover from another process first", async () => {
    const after = { ...EPOCH, timeline: 2 };
    const { watch } = setUp({ ...POLL, epoch: after });
    expect(await next(watch(cursorText({ epoch: after, snapshot: "10:10:" })))).toMatchObject({
      resync: true,
    });
  });

  it("sends a large step in parts, of which the last has the cursor", async () => {
    const { watch } = setUp({ ...POLL, changes: changes(625) });
    const open = watch(CURSOR);
    const parts = [await next(open), await next(open), await next(open)];
    expect(parts.map((part) => part.changes.length)).toEqual([250, 250, 125]);
    expect(parts.map((part) => part.cursor !== "")).toEqual([false, false, true]);
  });

  it("cuts a client that does not read, by steps and by changes, but never for one large step", async () => {
    const { tell, watch, watches } = setUp();
    const [behind, slow, prompt] = [watch(CURSOR), watch(CURSOR), watch(CURSOR)];
    await Promise.all([next(behind), next(slow), next(prompt)]);
    tell({ changes: changes(MAX_CHANGES_PER_POLL) });
    expect((await next(prompt)).changes).toHaveLength(250);
    await prompt.return(undefined);
    for (let n = 0; n < 63; n++) tell({ changes: changes(1) });
    expect((await next(slow)).changes, "the control: 64 steps are kept").toHaveLength(250);
    await slow.return(undefined);
    tell({ changes: changes(1) });
    await expect(behind.next()).rejects.toMatchObject({ reason: "OVERLOADED" });

    const third = watch(CURSOR);
    await next(third);
    for (let n = 0; n < 3; n++) tell({ changes: changes(MAX_CHANGES_PER_POLL) });
    await expect(third.next()).rejects.toMatchObject({ reason: "OVERLOADED" });
    expect(watches.cut).toBe(2);
  });

  it("sends a change immediately after a rest, and all changes during a rest together", async () => {
    const rests: (() => void)[] = [];
    const after = (ms: number, run: () => void) => {
      expect(ms).toBe(100);
      rests.push(run);
      return () => {};
    };
    const { tell, watch } = setUp(POLL, { ...RESTLESS, after });
    const open = watch(CURSOR);
    await next(open);
    let told: WatchMessage | undefined;
    const ask = () => void next(open).then((message) => (told = message));
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    ask();
    for (const position of [31n, 32n, 33n]) tell({ changes: changes(2), position });
    await turn();
    expect(told, "it rests").toBeUndefined();
    rests.shift()!();
    await turn();
    expect(told).toMatchObject({
      position: 33n,
      cursor: cursorText({ epoch: EPOCH, snapshot: "30:30:" }),
    });
    expect(told!.changes).toHaveLength(6);
    told = undefined;
    ask();
    await turn();
    rests.shift()!();
    await turn();
    expect(told).toBeUndefined();
    tell({ changes: changes(1), position: 34n });
    await turn();
    expect(told).toMatchObject({ position: 34n });
  });

  it("keeps only the last of the empty steps that were not read", async () => {
    const { tell, watch } = setUp();
    const open = watch(CURSOR);
    await next(open);
    for (let n = 0; n < 1000; n++) tell({ position: BigInt(n) });
    expect(await next(open)).toMatchObject({ position: 999n });
  });

  it("sends no step from before it caught up or from before a resync", async () => {
    const { database, tell, watch } = setUp();
    const held = Promise.withResolvers<void>();
    database.reads = held.promise;
    const others = Array.from({ length: 4 }, (_, n) =>
      next(watch(cursorText({ epoch: EPOCH, snapshot: `1${n}:1${n}:` }))),
    );
    const open = watch(cursorText({ epoch: EPOCH, snapshot: "5:5:" }));
    const first = next(open);
    tell({ changes: changes(3), position: 18n });
    held.resolve();
    await Promise.all(others);
    expect(await first).toMatchObject({ position: 20n });
    tell({ changes: changes(2), position: 31n });
    tell({ resync: true, position: 32n });
    expect(await next(open)).toMatchObject({ position: 32n, resync: true });
  });

  it("counts the watches that run, and keeps nothing of one that has ended", async () => {
    const { watches, subscribers, watch } = setUp();
    const open = Array.from({ length: 1000 }, () => watch(CURSOR));
    await Promise.all(open.map(next));
    await open[0]!.return(undefined);
    expect({ running: watches.running, subscribed: subscribers.size }).toEqual({ running: 999, subscribed: 999 });
  });

  it("reads once for all clients that come back at the same time with the same cursor", async () => {
    const { asked, database, watch } = setUp();
    await Promise.all(Array.from({ length: 500 }, () => next(watch(CURSOR))));
    await Promise.all(Array.from({ length: 500 }, () => next(watch())));
    // Two at once, and one for all the others, which waited.
    expect(asked).toEqual([...Array(3).fill("10:10:"), ...Array(3).fill(undefined)]);
    expect(database.endedSessionsRead).toBeLessThanOrEqual(6);
  });

  it("ends when its client disconnects", async () => {
    const { watches, watch } = setUp();
    const client = new AbortController();
    const open = watch(CURSOR, client.signal);
    await next(open);
    const ended = open.next();
    client.abort();
    expect(await ended).toMatchObject({ done: true });
    expect(watches.running).toBe(0);
  });
});
