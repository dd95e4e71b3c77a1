import { beforeEach, describe, expect, it } from "vitest";
import { UsageRecorder } from "../../src/keys/usage-recorder.ts";

const MINUTE_MS = 60_000;

let nowMs: number;
let isAway: boolean;
let written: { readonly keyId: string; readonly usedAtMs: number }[];
let warnings: number;
let recorder: UsageRecorder;

beforeEach(() => {
  nowMs = 1_790_000_000_000;
  isAway = false;
  written = [];
  warnings = 0;
  recorder = new UsageRecorder({
    store: {
      recordUses: async (uses) => {
        if (isAway) throw new Error("away");
        written.push(...uses);
      },
    },
    databaseClock: { nowMs: () => nowMs },
    maxKeys: 1000,
    log: { info() {}, error() {}, flush() {}, warn: () => void warnings++ },
  });
});

/** Uses the key after `afterMs`, then flushes the recorder. */
async function use(keyId: string, afterMs = 0): Promise<void> {
  nowMs += afterMs;
  recorder.used(keyId, nowMs);
  await recorder.writer.flush();
}

describe("the usage recorder", () => {
  it("writes the use of an idle key at the next flush, and that of a busy key at most once a minute", async () => {
    await use("a");
    for (let s = 0; s < 59; s++) await use("a", 1000);
    expect(written).toEqual([{ keyId: "a", usedAtMs: nowMs - 59_000 }]);
    await use("a", 1000);
    expect(written.at(-1)).toEqual({ keyId: "a", usedAtMs: nowMs });
    expect(written).toHaveLength(2);
  });

  it("writes the last use even if no use follows", async () => {
    await use("a");
    await use("a", 10_000);
    const lastMs = nowMs;
    nowMs += MINUTE_MS;
    await recorder.writer.flush();
    await recorder.writer.flush();
    expect(written.map(({ usedAtMs }) => usedAtMs)).toEqual([lastMs - 10_000, lastMs]);
  });

  it("writes uses that are not due yet when the process stops", async () => {
    await use("a");
    await use("a", 1000);
    await recorder.writer.stop();
    expect(written.map(({ usedAtMs }) => usedAtMs)).toEqual([nowMs - 1000, nowMs]);
  });

  it("tries uses that can't be written again, with their latest time", async () => {
    isAway = true;
    await use("a");
    await use("b", 1000);
    expect([written, warnings]).toEqual([[], 2]);
    isAway = false;
    await use("a", 1000);
    expect(written).toEqual([
      { keyId: "a", usedAtMs: nowMs },
      { keyId: "b", usedAtMs: nowMs - 1000 },
    ]);
  });

  it("remembers a bounded number of keys, and forgets idle ones to make room", async () => {
    isAway = true;
    for (let n = 0; n < 1500; n++) recorder.used(`k${n}`, nowMs);
    isAway = false;
    await recorder.writer.flush();
    expect(written).toHaveLength(1000);
    nowMs += MINUTE_MS;
    await recorder.writer.flush();
    await use("late", 1);
    expect(written.at(-1)).toEqual({ keyId: "late", usedAtMs: nowMs });
  });
});
