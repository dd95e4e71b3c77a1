import { beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/audit/audit-event.ts";
import { type Refusal, RefusalRecorder } from "../../src/audit/refusal-recorder.ts";
import { recordingLog } from "../support/recording-log.ts";
import { ShiftedClock } from "../support/shifted-clock.ts";

const MINUTES = 60_000;

describe("refusals are put on record", () => {
  let clock: ShiftedClock;
  let log: ReturnType<typeof recordingLog>;
  let written: AuditEntry[];
  let store: { record(entry: AuditEntry): Promise<void> };
  let recorder: RefusalRecorder;
  beforeEach(() => {
    clock = new ShiftedClock();
    log = recordingLog();
    written = [];
    store = {
      record: async (entry) => {
        written.push(entry);
      },
    };
    recorder = new RefusalRecorder({ audit: { record: (entry) => store.record(entry) }, clock, log });
  });

  function note(about: string, kind: Refusal["kind"] = "login.throttled"): void {
    recorder.note({ kind, about, subjectId: () => about, clientIp: "192.0.2.1", details: { reason: "r" } });
  }

  async function recorded(): Promise<readonly AuditEntry[]> {
    await recorder.settled();
    return written.splice(0);
  }

  it("once in ten minutes for each kind and subject; the next says how many there were in between", async () => {
    for (let n = 0; n < 1000; n++) note("usr_1");
    note("usr_2");
    note("usr_1", "login.refused");
    const entry = {
      kind: "login.throttled",
      actorId: "",
      subjectId: "usr_1",
      clientIp: "192.0.2.1",
      details: { reason: "r" },
    };
    expect(await recorded()).toEqual([entry, { ...entry, subjectId: "usr_2" }, { ...entry, kind: "login.refused" }]);
    clock.advance(10 * MINUTES - 1000);
    note("usr_1");
    expect(await recorded()).toEqual([]);
    clock.advance(1000);
    note("usr_1");
    note("usr_2");
    expect(await recorded()).toEqual([
      { ...entry, details: { reason: "r", refused_before: "1000" } },
      { ...entry, subjectId: "usr_2" },
    ]);
  });

  it("ten a minute of a kind, however many they are about, and one kind does not crowd out another", async () => {
    for (let n = 0; n < 100_000; n++) note(`nobody-${n}`);
    note("svc_1", "credential.refused");
    expect((await recorded()).map(({ subjectId }) => subjectId)).toEqual([
      ...Array.from({ length: 10 }, (_, n) => `nobody-${n}`),
      "svc_1",
    ]);
    clock.advance(MINUTES);
    note("late");
    expect(await recorded()).toHaveLength(1);
    expect(log.lines).toEqual([
      expect.objectContaining({ level: "warn", fields: { kind: "login.throttled", left_out: 99_990 } }),
    ]);
  });

  it("in memory that does not grow, whatever the number of subjects", async () => {
    note("first");
    for (let minute = 0; minute < 200; minute++) {
      clock.advance(MINUTES);
      for (let n = 0; n < 100; n++) note(`${minute} ${n}`);
    }
    expect(await recorded()).toHaveLength(1 + 200 * 10);
  });

  it("behind the call: neither a slow store nor one that fails is noticed by it, and what is lost is a warning", async () => {
    const slow = Promise.withResolvers<void>();
    store = { record: () => slow.promise };
    note("a");
    note("b");
    slow.reject(new Error("away"));
    expect(await recorded()).toEqual([]);
    expect(log.lines.map(({ level }) => level)).toEqual(["warn", "warn"]);
    store = {
      record: async (entry) => {
        written.push(entry);
      },
    };
    recorder.note({
      kind: "login.refused",
      about: "c",
      subjectId: () => Promise.reject(new Error("away")),
      clientIp: "",
    });
    note("d");
    expect((await recorded()).map(({ subjectId }) => subjectId)).toEqual(["d"]);
  });

  it("by the next refusal of a subject where the one before could not be written, however soon it comes", async () => {
    const works = store;
    store = { record: () => Promise.reject(new Error("away")) };
    note("a");
    note("a");
    expect(await recorded()).toEqual([]);
    note("a");
    expect(await recorded()).toEqual([]);
    store = works;
    note("a");
    note("a");
    expect((await recorded()).map(({ details }) => details)).toEqual([{ reason: "r", refused_before: "3" }]);
  });
});
