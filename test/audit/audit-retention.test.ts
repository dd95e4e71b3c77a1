import { expect, it } from "vitest";
import { startAuditRetention } from "../../src/audit/audit-retention.ts";
import type { Timers } from "../../src/lib/clock.ts";
import { recordingLog } from "../support/recording-log.ts";

const HOUR_MS = 3_600_000;

it("old events are deleted every hour until it ends, also after an hour in which the database was away", async () => {
  const due: { ms: number; run: () => void; isCancelled: boolean }[] = [];
  const timers: Timers = {
    after(ms, run) {
      const timer = { ms, run, isCancelled: false };
      due.push(timer);
      return () => {
        timer.isCancelled = true;
      };
    },
    nextTurn: () => {},
  };
  const pruned: number[] = [];
  const log = recordingLog();
  const prune = async (olderThanMs: number) => {
    pruned.push(olderThanMs);
    if (pruned.length === 2) throw new Error("away");
  };
  const end = startAuditRetention({ audit: { prune }, timers, log, keepMs: 400 * 24 * HOUR_MS });
  for (let hour = 0; hour < 3; hour++) {
    expect(due).toMatchObject([{ ms: HOUR_MS, isCancelled: false }]);
    due.shift()!.run();
    await expect.poll(() => due.length).toBe(1);
  }
  expect(pruned).toEqual(Array(3).fill(400 * 24 * HOUR_MS));
  expect(log.lines.map(({ level }) => level)).toEqual(["warn"]);
  end();
  expect(due).toMatchObject([{ isCancelled: true }]);
});
