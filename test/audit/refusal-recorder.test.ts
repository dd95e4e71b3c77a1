import { beforeEach, describe, expect, it } from "vitest";
import { added, type CountedEntry } from "../../src/audit/counted-event.ts";
import { type Refusal, RefusalRecorder } from "../../src/audit/refusal-recorder.ts";
import { ManualTimers } from "../support/manual-timers.ts";
import { recordingLog } from "../support/recording-log.ts";
import { StandingClock } from "../support/shifted-clock.ts";

describe("the refusal recorder", () => {
  let clock: StandingClock;
  let timers: ManualTimers;
  let log: ReturnType<typeof recordingLog>;
  let writes: CountedEntry[];
  let count: (entry: CountedEntry) => Promise<void>;
  let recorder: RefusalRecorder;
  const works = async (entry: CountedEntry) => void writes.push(entry);
  beforeEach(() => {
    clock = new StandingClock();
    timers = new ManualTimers();
    log = recordingLog();
    writes = [];
    count = works;
    recorder = new RefusalRecorder({ audit: { count: (entry) => count(entry) }, clock, timers, log });
  });

  function note(about: string, more: Partial<Refusal> = {}): void {
    const subjectId = more.room === "unknown" ? "" : about;
    recorder.note({ kind: "login.failed", room: "known", about, subjectId, clientIp: "192.0.2.1", ...more });
  }

  /** Resolves when all work that needs no timer is done. */
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

  /** Lets one second of the writer pass. */
  async function second(): Promise<void> {
    timers.run();
    await turn();
  }

  /** The events that the writes add up to, by what identifies them. */
  async function trail(): Promise<ReadonlyMap<string, CountedEntry>> {
    await turn();
    while (timers.waiting > 0) await second();
    await recorder.settled();
    const events = new Map<string, CountedEntry>();
    for (const entry of writes) {
      const earlier = events.get(entry.about);
      events.set(entry.about, { ...entry, details: added(earlier?.details ?? {}, entry.details) });
    }
    return events;
  }

  const subjects = (events: ReadonlyMap<string, CountedEntry>) =>
    [...events.values()].map(({ subjectId }) => subjectId);

  it("makes one event for a kind and a subject, with the count, the networks and what was tried", async () => {
    for (let n = 0; n < 85; n++)
      note("usr_1", { clientIp: n < 80 ? "192.0.2.7" : "2001:db8:1:2::3", tally: "by login" });
    note("usr_2", { facts: { account: "ab" } });
    note("usr_1", { kind: "login.refused" });
    const events = await trail();
    expect(subjects(events)).toEqual(["usr_1", "usr_2"]);
    const [first] = writes;
    expect(first).toMatchObject({ kind: "login.failed", actorId: "", subjectId: "usr_1", clientIp: "192.0.2.7" });
    const failures = writes.filter(({ kind, subjectId }) => kind === "login.failed" && subjectId === "usr_1");
    expect(failures.reduce((details, entry) => added(details, entry.details), { count: "0" })).toEqual({
      count: "85",
      "from 192.0.2.0/24": "80",
      "from 2001:db8:1::/48": "5",
      "by login": "85",
    });
    expect(failures.at(-1)?.clientIp).toBe("2001:db8:1:2::3");
    expect(writes.find(({ subjectId }) => subjectId === "usr_2")?.details).toMatchObject({ account: "ab", count: "1" });
  });

  it("writes the first refusal at once, and further ones together after a second", async () => {
    note("a");
    await turn();
    expect(writes.map(({ details }) => details.count)).toEqual(["1"]);
    for (let n = 0; n < 40; n++) note("a");
    await turn();
    expect(writes).toHaveLength(1);
    await second();
    expect(writes.map(({ details }) => details.count)).toEqual(["1", "40"]);
    await second();
    expect(timers.waiting).toBe(0);
    note("a");
    await turn();
    expect(writes).toHaveLength(3);
  });

  it("writes a few events a second, and no room delays another", async () => {
    for (let n = 0; n < 60; n++) note(`made up ${n}`, { room: "unknown" });
    for (let n = 0; n < 20; n++) note(`usr_${n}`);
    await turn();
    await second();
    const known = () => writes.filter(({ subjectId }) => subjectId !== "").length;
    // No known subject was waiting when the first event was written.
    expect([known(), writes.length - known()]).toEqual([8, 4 + 4]);
    await second();
    expect([known(), writes.length - known()]).toEqual([16, 4 + 4 + 4]);
  });

  it("records accounts that exist, even if invented accounts and networks fill their own rooms", async () => {
    for (let n = 0; n < 5000; n++) {
      note(`made up ${n}`, { room: "unknown" });
      note(`10.${n >> 8}.${n & 255}.0/24`, { room: "network" });
    }
    note("usr_victim");
    const events = await trail();
    expect(events.get("known usr_victim")).toMatchObject({ subjectId: "usr_victim", details: { count: "1" } });
    expect([...events.keys()].filter((about) => about.startsWith("unknown made up"))).toHaveLength(16);
    // Subjects without an event of their own are counted by the shared event.
    expect(events.get("unknown others")?.details).toMatchObject({ count: "4984" });
    expect(events.get("network others")?.details).toMatchObject({ count: expect.stringMatching(/^\d+$/) });
  });

  it("gives an account its own event once it is refused more often than many others", async () => {
    for (let n = 0; n < 1000; n++) note(`usr_${n}`);
    for (let n = 0; n < 85; n++) note("usr_victim");
    const events = await trail();
    expect(events.get("known usr_victim")?.details).toMatchObject({ count: "82", count_before: "3" });
    expect(events.get("known others")?.details).toMatchObject({
      count: String(900 + 3),
      shared_by: "further subjects",
    });
  });

  it("starts again in the next hour", async () => {
    for (let n = 0; n < 100; n++) note(`usr_${n}`);
    note("late");
    clock.advance(3_600_000);
    note("late");
    const events = await trail();
    expect(events.get("known late")?.details.count).toBe("1");
    expect(events.get("known others")?.details.count).toBe("1");
  });

  it("delays no call if the store is slow", async () => {
    const slow = Promise.withResolvers<void>();
    count = () => slow.promise;
    note("a");
    note("b");
    expect(writes).toEqual([]);
    count = works;
    slow.resolve();
    expect(subjects(await trail())).toEqual(["b"]);
  });

  it("writes all counts once the database answers again, after one warning", async () => {
    count = () => Promise.reject(new Error("unreachable"));
    for (let n = 0; n < 3; n++) note("a");
    note("b");
    for (let n = 0; n < 5; n++) {
      await turn();
      await second();
    }
    expect(writes).toEqual([]);
    expect(log.lines).toMatchObject([{ level: "warn", fields: { reason: "INTERNAL" } }]);
    expect(recorder.waiting).toBe(2);
    expect(recorder.failures).toBeGreaterThan(1);
    count = works;
    const events = await trail();
    expect(recorder.waiting).toBe(0);
    expect(events.get("known a")?.details.count).toBe("3");
    expect(events.get("known b")?.details.count).toBe("1");
  });

  it("writes without a pause when the process stops, and warns of what it can't write", async () => {
    for (let n = 0; n < 40; n++) note(`usr_${n}`);
    await recorder.stop();
    expect(writes).toHaveLength(40);
    expect(log.lines).toEqual([]);
    count = () => Promise.reject(new Error("unreachable"));
    note("late");
    await recorder.stop();
    expect(log.lines.map(({ message }) => message)).toContain(
      "refusals of the last seconds are not in the audit trail",
    );
  });
});
