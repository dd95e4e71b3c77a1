import { beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/audit/audit-event.ts";
import { AuditExporter, type Delivery, type Destination } from "../../src/audit/export/exporter.ts";
import type { Timers } from "../../src/lib/clock.ts";
import { recordingLog } from "../support/recording-log.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { MovedTimers, Queue } from "./exporter-in-memory.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;

describe("the exporter", () => {
  let clock: StandingClock;
  let timers: MovedTimers;
  let queue: Queue;
  let log: ReturnType<typeof recordingLog>;
  let deliver: (events: readonly AuditEvent[]) => Delivery | Promise<Delivery>;
  let tries: string[][];
  let triedAtMs: number[];
  let isClosed: boolean;
  beforeEach(() => {
    clock = new StandingClock();
    timers = new MovedTimers(clock);
    queue = new Queue(clock);
    log = recordingLog();
    tries = [];
    triedAtMs = [];
    isClosed = false;
    deliver = take;
  });

  const take = (events: readonly AuditEvent[]): Delivery => ({
    delivered: new Set(events.map(({ id }) => id)),
    failed: new Map(),
  });
  const refuse = ([first]: readonly AuditEvent[], retryAfterMs?: number): Delivery => ({
    delivered: new Set(),
    failed: new Map([[first!.id, "HTTP 500"]]),
    retryAfterMs,
  });
  /** As a webhook does it: none of the first eight subjects that fail lets it go on. It refuses subjects "bad". */
  const takeGood = (events: readonly AuditEvent[]): Delivery => {
    const chains = [...Map.groupBy(events, ({ subjectId }) => subjectId)];
    const isBad = ([subjectId]: readonly [string, unknown]) => subjectId.startsWith("bad");
    const tried = chains.slice(0, 8).every(isBad) ? chains.slice(0, 8) : chains;
    const refused = new Set(tried.filter(isBad).map(([, [first]]) => first!.id));
    return {
      delivered: new Set(tried.filter((chain) => !isBad(chain)).flatMap(([, each]) => each.map(({ id }) => id))),
      failed: new Map([...refused].map((id) => [id, "HTTP 403"])),
      refused,
    };
  };
  const event = (id: string, subjectId = id): AuditEvent => ({
    ...{ id, kind: "key.issued", actorId: "", subjectId, clientIp: "", details: {}, happenedAtMs: 0 },
  });
  function newExporter(holder = "one", exporterTimers: Timers = timers): AuditExporter {
    const destination: Destination = {
      name: "webhook",
      deliver: async (events) => {
        tries.push(events.map(({ id }) => id));
        triedAtMs.push(clock.elapsedMs());
        return deliver(events);
      },
      close: () => {
        isClosed = true;
      },
    };
    return new AuditExporter({
      store: queue,
      destination,
      holder,
      clock,
      timers: exporterTimers,
      log,
      random: () => 0.5,
    });
  }
  /** Lets time pass until this many deliveries were tried. @returns the seconds between them */
  async function pauses(count: number): Promise<number[]> {
    while (tries.length < count) await timers.run();
    return triedAtMs.slice(1).map((ms, n) => (ms - triedAtMs[n]!) / SECOND);
  }
  const messages = () => log.lines.map(({ message }) => message);

  it("delivers what waits, in order, and asks each second for more", async () => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(event("a"), event("b"));
    expect(await timers.run()).toBe(SECOND);
    expect(await timers.run()).toBe(SECOND);
    queue.add(event("c"));
    await timers.run();
    expect(tries).toEqual([["a", "b"], ["c"]]);
    expect(queue.rows).toEqual([]);
    expect(exporter.figures).toMatchObject({ delivered: 3, failed: 0, lost: 0 });
  });

  it("delivers 200 events at a time, without a pause after 25 or more", async () => {
    await newExporter().start();
    queue.add(...Array.from({ length: 420 }, (_, n) => event(`${n}`)));
    expect([await timers.run(), await timers.run(), await timers.run()]).toEqual([0, 0, SECOND]);
    expect(tries.map(({ length }) => length)).toEqual([200, 200, 20]);
  });

  it("doubles its pause while every attempt fails, up to 5 minutes, and begins again at 1 s after a success", async () => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(event("a"));
    deliver = refuse;
    expect(await pauses(11)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    expect(queue.rows[0]?.attempts, "the destination failed, not the event").toBe(0);
    deliver = take;
    expect((await pauses(12)).at(-1)).toBe(300);
    expect(queue.rows).toEqual([]);
    queue.add(event("b"));
    deliver = refuse;
    expect((await pauses(14)).at(-1)).toBe(1);
    expect(exporter.figures).toMatchObject({ delivered: 1, failed: 13 });
    expect(messages().slice(1)).toEqual([
      "audit events can't be exported now; trying again",
      "audit events are exported again",
      "audit events can't be exported now; trying again",
    ]);
  });

  it("waits as long as the destination asks, at least its own pause and at most an hour", async () => {
    await newExporter().start();
    queue.add(event("a"));
    const asked = [90 * SECOND, SECOND, 48 * 60 * MINUTE];
    deliver = (events) => refuse(events, asked.shift());
    expect(await pauses(4)).toEqual([90, 2, 3600]);
  });

  it("lets one event that fails wait for up to an hour, while others are delivered", async () => {
    await newExporter().start();
    queue.add(event("bad"));
    deliver = (events) => ({
      delivered: new Set(events.map(({ id }) => id).filter((id) => id !== "bad")),
      failed: new Map(events.some(({ id }) => id === "bad") ? [["bad", "HTTP 422"]] : []),
    });
    const delays = [];
    for (let n = 0; n < 14; n++) {
      queue.add(event(`${n}`));
      clock.advance(2 * 60 * MINUTE);
      const beganMs = clock.elapsedMs() + timers.waiting!.ms;
      expect(await timers.run()).toBe(SECOND);
      delays.push((queue.dueMs.get(queue.rows[0]!.queueId)! - beganMs) / SECOND);
    }
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
    expect(queue.rows.map((row) => row.event?.id)).toEqual(["bad"]);
    expect(messages().filter((message) => message.includes("of its subject wait"))).toHaveLength(1);
  });

  it.each<[what: string, refused: readonly AuditEvent[]]>([
    ["one event and 199 later ones of its subject", Array.from({ length: 200 }, (_, n) => event(`${n}`, "bad"))],
    ["events of 8 subjects", Array.from({ length: 8 }, (_, n) => event(`bad ${n}`))],
    ["events of 40 subjects", Array.from({ length: 40 }, (_, n) => event(`bad ${n}`))],
  ])("delivers other events if the destination refuses %s", async (_what, refused) => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(...refused, event("good"));
    deliver = takeGood;
    for (let n = 0; n < 60 && exporter.figures.delivered === 0; n++) await timers.run();
    expect(exporter.figures.delivered).toBe(1);
    expect(queue.rows).toHaveLength(refused.length);
    expect(clock.elapsedMs() - triedAtMs[0]!, "5 rests at most").toBeLessThan(32 * SECOND);
    expect(messages().filter((message) => message.includes("of its subject wait")).length).toBeLessThanOrEqual(8);
  });

  it("tries an event that a destination refuses alone at least every 10 minutes", async () => {
    await newExporter().start();
    queue.add(event("bad"));
    deliver = takeGood;
    const between = await pauses(14);
    expect(Math.max(...between)).toBeLessThanOrEqual(601);
    expect(between.at(-1)).toBeGreaterThanOrEqual(600);
  });

  it("goes on without a pause after it found only events that the trail had deleted", async () => {
    await newExporter().start();
    queue.add(...Array.from({ length: 200 }, () => undefined), event("a"));
    expect(await timers.run()).toBe(0);
    await timers.run();
    expect(tries).toEqual([["a"]]);
  });

  it("reports what a pruning takes from the queue as lost", async () => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(event("a"), ...Array.from({ length: 2001 }, () => undefined));
    expect([await exporter.prune(), await exporter.prune(), await exporter.prune()]).toEqual([true, true, false]);
    expect(exporter.figures.lost).toBe(2001);
    expect(queue.rows.map((row) => row.event?.id)).toEqual(["a"]);
    expect(log.lines.filter(({ level }) => level === "error").map(({ fields }) => fields?.events)).toEqual([2000, 1]);
  });

  it("says so when the trail has deleted events that were not exported", async () => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(undefined, event("a"), undefined);
    await timers.run();
    expect(tries).toEqual([["a"]]);
    expect(queue.rows).toEqual([]);
    expect(exporter.figures.lost).toBe(2);
    expect(log.lines.find(({ level }) => level === "error")).toMatchObject({
      message: "audit events were deleted before they were exported",
      fields: { destination: "webhook", events: 2 },
    });
  });

  it("goes on after the database was unreachable, and delivers nothing twice for it", async () => {
    queue.isDown = true;
    await newExporter().start();
    queue.add(event("a"));
    expect(await timers.run()).toBe(5 * SECOND);
    queue.isDown = false;
    await timers.run();
    expect(tries).toEqual([["a"]]);
  });

  it("exports in one process at a time, and in another one when the first resigns or stops renewing", async () => {
    const others = new MovedTimers(clock);
    const first = newExporter();
    await first.start();
    await newExporter("two", others).start();
    queue.add(event("a"));
    expect(await others.run()).toBe(5 * SECOND);
    expect(tries).toEqual([]);
    for (let n = 0; n < 60; n++) {
      await timers.run();
      if (n % 5 === 0) await others.run();
    }
    expect(queue.lease.holder).toBe("one");
    // The first process is killed.
    for (let n = 0; n < 10; n++) await others.run();
    expect(queue.lease.holder).toBe("two");
    await newExporter("three", timers).start();
    await timers.run();
    expect(queue.lease.holder).toBe("two");
  });

  it("keeps its lease while the destination rests, so that no other process tries instead", async () => {
    await newExporter().start();
    queue.add(event("a"));
    deliver = refuse;
    let leastMs = Number.POSITIVE_INFINITY;
    while (tries.length < 12) {
      await timers.run();
      leastMs = Math.min(leastMs, queue.lease.untilMs - clock.elapsedMs());
    }
    expect(leastMs).toBeGreaterThan(0);
    expect(messages()[0]).toBe("this process exports the audit trail");
  });

  it("renews its lease before a delivery could outlast it", async () => {
    await newExporter().start();
    let leastMs = Number.POSITIVE_INFINITY;
    deliver = (events) => {
      leastMs = Math.min(leastMs, queue.lease.untilMs - clock.elapsedMs());
      clock.advance(20 * SECOND);
      return take(events);
    };
    for (let n = 0; n < 20; n++) {
      queue.add(event(`${n}`));
      await timers.run();
    }
    expect(leastMs).toBeGreaterThanOrEqual(30 * SECOND);
  });

  it("ends by handing over at once, and ends a delivery that hangs", async () => {
    const exporter = newExporter();
    await exporter.start();
    queue.add(event("a"));
    let end = () => {};
    deliver = (events) => new Promise((resolve) => (end = () => resolve(refuse(events))));
    await timers.run();
    const stopped = exporter.stop();
    await expect.poll(() => isClosed).toBe(true);
    end();
    await stopped;
    expect(timers.waiting, "no further attempt").toBeUndefined();
    const others = new MovedTimers(clock);
    deliver = take;
    await newExporter("two", others).start();
    await others.run();
    expect(queue.rows).toEqual([]);
  });
});
