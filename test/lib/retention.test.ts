import { expect, it } from "vitest";
import type { Timers } from "../../src/lib/clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { startRetention } from "../../src/lib/retention.ts";
import { recordingLog } from "../support/recording-log.ts";

const MINUTES = 60_000;

interface Timer {
  readonly ms: number;
  readonly run: () => void;
  isCancelled: boolean;
}

function start(prune: () => Promise<boolean>) {
  const due: Timer[] = [];
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
  const log = recordingLog();
  const end = startRetention({ what: "things", prune, timers, log });
  /** Runs the next timer, and returns its delay. */
  const pass = () => {
    const timer = due.shift()!;
    timer.run();
    return timer.ms;
  };
  return { due, log, end, pass };
}

it("all expired rows are deleted five minutes after the start and then every ten minutes", async () => {
  let left = 5;
  let portions = 0;
  const { due, pass } = start(async () => {
    portions++;
    left = Math.max(0, left - 1);
    return left > 0;
  });
  expect(portions).toBe(0);
  expect(pass()).toBe(5 * MINUTES);
  await expect.poll(() => due.length).toBe(1);
  expect(portions).toBe(5);
  expect(pass()).toBe(10 * MINUTES);
  await expect.poll(() => due.length).toBe(1);
  expect(portions).toBe(6);
});

it("a failed deletion is logged with its reason and tried again", async () => {
  let calls = 0;
  const { due, log, pass } = start(async () => {
    if (++calls === 1) throw new DomainError("DATABASE_UNAVAILABLE", "away");
    return false;
  });
  for (let n = 1; n <= 2; n++) {
    pass();
    await expect.poll(() => due.length).toBe(1);
    expect(calls).toBe(n);
  }
  const message = "expired rows could not be deleted; trying again in ten minutes";
  expect(log.lines).toMatchObject([
    { level: "warn", message, fields: { rows: "things", reason: "DATABASE_UNAVAILABLE" } },
  ]);
});

it("retention ends without another deletion, and logs no failure of the one under way", async () => {
  const deleting = Promise.withResolvers<boolean>();
  let calls = 0;
  const { due, log, end, pass } = start(() => {
    calls++;
    return deleting.promise;
  });
  pass();
  end();
  deleting.reject(new Error("closed"));
  await deleting.promise.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect({ calls, due, lines: log.lines }).toEqual({ calls: 1, due: [], lines: [] });

  const waiting = start(async () => false);
  waiting.end();
  expect(waiting.due).toMatchObject([{ isCancelled: true }]);
});
