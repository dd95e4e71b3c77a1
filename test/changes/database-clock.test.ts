import { describe, expect, it } from "vitest";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { ShiftedClock } from "../support/shifted-clock.ts";

/** What the database's clock is ahead of this process's monotonic one. */
const AHEAD_MS = 1e12;
/** Real time goes on while a test runs. */
const SLACK_MS = 50;

function setUp() {
  const clock = new ShiftedClock();
  const databaseClock = new DatabaseClock(clock);
  const aheadMs = () => databaseClock.nowMs() - (clock.monotonicMs() + AHEAD_MS);
  /** A statement that needs so long there and so long back. */
  const ask = (thereMs: number, backMs: number, aheadMs = AHEAD_MS) => {
    const sentAtMs = clock.elapsedMs();
    clock.advance(thereMs);
    const databaseMs = clock.monotonicMs() + aheadMs;
    clock.advance(backMs);
    databaseClock.observe(databaseMs, sentAtMs);
  };
  return { ask, aheadMs };
}

describe("DatabaseClock", () => {
  it("is never ahead of the database, however long an answer took, and behind by the quickest one at most", () => {
    const { ask, aheadMs } = setUp();
    ask(300, 200);
    expect(aheadMs()).toBeLessThanOrEqual(0);
    ask(1, 1);
    ask(400, 300);
    expect(aheadMs()).toBeLessThanOrEqual(0);
    expect(aheadMs()).toBeGreaterThan(-1 - SLACK_MS);
  });

  it("follows a database whose clock was set, at the next answer", () => {
    const { ask, aheadMs } = setUp();
    ask(1, 1);
    for (const stepMs of [3_600_000, -3_600_000]) {
      ask(1, 1, AHEAD_MS + stepMs);
      expect(Math.abs(aheadMs() - stepMs)).toBeLessThan(SLACK_MS);
    }
  });
});
