import { expect, it } from "vitest";
import type { Timers } from "../../src/lib/clock.ts";
import { startRetention } from "../../src/lib/retention.ts";
import { recordingLog } from "../support/recording-log.ts";

const HOUR_MS = 3_600_000;

it("what is old is deleted every hour until it ends, also after an hour in which the database was away", async () => {
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
  let pruned = 0;
  const log = recordingLog();
  const prune = async () => {
    pruned++;
    if (pruned === 2) throw new Error("away");
  };
  const end = startRetention({ what: "things", prune, timers, log });
  for (let hour = 0; hour < 3; hour++) {
    expect(due).toMatchObject([{ ms: HOUR_MS, isCancelled: false }]);
    due.shift()!.run();
    await expect.poll(() => due.length).toBe(1);
  }
  expect(pruned).toBe(3);
  expect(log.lines).toMatchObject([{ level: "warn", message: "old things could not be deleted; trying again" }]);
  end();
  expect(due).toMatchObject([{ isCancelled: true }]);
});
