import { expect, it } from "vitest";
import type { Timers } from "../../src/lib/clock.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { type RetentionDeps, startRetention } from "../../src/lib/retention.ts";
import { recordingLog } from "../support/recording-log.ts";

const MINUTES = 60_000;
const REST_MS = 50;

interface Timer {
  readonly ms: number;
  readonly run: () => void;
  isCancelled: boolean;
}

function start(expiring: RetentionDeps["expiring"]) {
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
  const end = startRetention({ expiring, timers, log });
  /** Runs the next timer, waits for what it does, and returns its delay. */
  const pass = async () => {
    const timer = due.shift()!;
    timer.run();
    await expect.poll(() => due.length).toBe(1);
    return timer.ms;
  };
  return { due, log, end, pass };
}

/** A table with expired rows: `portions` are those of each deletion. */
function table(portions: number) {
  const rows = { left: portions, deletions: 0 };
  const prune = async () => {
    rows.deletions++;
    rows.left = Math.max(0, rows.left - 1);
    return rows.left > 0;
  };
  return { rows, prune };
}

it("all expired rows are deleted five minutes after the start and then every ten minutes", async () => {
  const { rows, prune } = table(3);
  const { pass } = start({ things: prune });
  expect(rows.deletions).toBe(0);
  expect(await pass()).toBe(5 * MINUTES);
  expect(rows).toEqual({ left: 2, deletions: 1 });
  expect([await pass(), await pass(), rows.deletions]).toEqual([REST_MS, REST_MS, 3]);
  expect(await pass()).toBe(REST_MS);
  expect(await pass()).toBe(10 * MINUTES);
  expect(rows.deletions).toBe(4);
});

it("one deletion runs at a time, whatever expires, and the database rests after each", async () => {
  const [first, second] = [table(2), table(2)];
  let underWay = 0;
  const alone = (prune: () => Promise<boolean>) => async () => {
    expect(++underWay).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
    return prune();
  };
  const { pass } = start({ first: alone(first.prune), second: alone(second.prune) });
  await pass();
  const rests = [await pass(), await pass(), await pass(), await pass()];
  expect(rests).toEqual(Array(4).fill(REST_MS));
  expect([first.rows, second.rows]).toEqual(Array(2).fill({ left: 0, deletions: 2 }));
});

it("a failed deletion is logged with its reason and tried again, and keeps nothing else from being deleted", async () => {
  const other = table(1);
  let calls = 0;
  const broken = async () => {
    if (++calls === 1) throw new DomainError("DATABASE_UNAVAILABLE", "away");
    return false;
  };
  const { log, pass } = start({ things: broken, others: other.prune });
  for (let passes = 1; passes <= 3; passes++) await pass();
  expect([calls, other.rows.deletions]).toEqual([1, 1]);
  const message = "expired rows could not be deleted; trying again in ten minutes";
  expect(log.lines).toMatchObject([
    { level: "warn", message, fields: { rows: "things", reason: "DATABASE_UNAVAILABLE" } },
  ]);
  await pass();
  expect(calls).toBe(2);
});

it("retention ends without another deletion, and logs no failure of the one under way", async () => {
  const deleting = Promise.withResolvers<boolean>();
  let calls = 0;
  const { due, log, end } = start({
    things: () => {
      calls++;
      return deleting.promise;
    },
  });
  due.shift()!.run();
  end();
  deleting.reject(new Error("closed"));
  await deleting.promise.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect({ calls, due, lines: log.lines }).toEqual({ calls: 1, due: [], lines: [] });

  const waiting = start({ things: async () => false });
  waiting.end();
  expect(waiting.due).toMatchObject([{ isCancelled: true }]);
});
