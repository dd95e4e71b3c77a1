import { describe, expect, it } from "vitest";
import { DatabaseClock } from "../../src/changes/database-clock.ts";
import { StandingClock } from "../support/shifted-clock.ts";

/** How far the database's clock is ahead of this process's monotonic clock. */
const AHEAD_MS = 1e12;
/** Tolerance, because real time passes while a test runs. */
const SLACK_MS = 50;

function setUp() {
  const clock = new StandingClock();
  const databaseClock = new DatabaseClock(clock);
  const aheadMs = () => databaseClock.nowMs() - (clock.monotonicMs() + AHEAD_MS);
  /** A statement that takes `thereMs` to the database and `backMs` back. */
  const ask = (thereMs: number, backMs: number, aheadMs = AHEAD_MS) => {
    const sentAtMs = clock.elapsedMs();
    clock.advance(thereMs);
    const databaseMs = clock.monotonicMs() + aheadMs;
    clock.advance(backMs);
    databaseClock.observe(databaseMs, sentAtMs);
  };
  return { ask, aheadMs, clock, databaseClock };
}

describe("DatabaseClock", () => {
  it("is never ahead of the database, and behind by at most the duration of the quickest answer", () => {
    const { ask, aheadMs } = setUp();
    ask(300, 200);
    expect(aheadMs()).toBeLessThanOrEqual(0);
    ask(1, 1);
    ask(400, 300);
    expect(aheadMs()).toBeLessThanOrEqual(0);
    expect(aheadMs()).toBeGreaterThan(-1 - SLACK_MS);
  });

  it("dates no earlier moment too late after an answer showed that the clock had lost time unnoticed", () => {
    const { ask, clock, databaseClock } = setUp();
    ask(1, 1);
    const sentAtMs = clock.elapsedMs();
    const trueMs = clock.monotonicMs() + AHEAD_MS;
    clock.suspend(900);
    ask(1, 1, AHEAD_MS + 900);
    expect(databaseClock.at(sentAtMs) - trueMs).toBeLessThanOrEqual(0);
    expect(databaseClock.at(sentAtMs) - trueMs).toBeGreaterThan(-SLACK_MS);
    // The smallest lead is forgotten in the end: the time of a much later moment is exact again.
    for (let n = 0; n < 3; n++) {
      clock.advance(71_000);
      ask(1, 1, AHEAD_MS + 900);
    }
    const now = databaseClock.at(clock.elapsedMs()) - (clock.monotonicMs() + AHEAD_MS + 900);
    expect(now).toBeGreaterThan(-SLACK_MS);
  });

  it("is at most a second behind for earlier moments after the database's clock was set forward", () => {
    const { ask, clock, databaseClock } = setUp();
    ask(1, 1);
    ask(1, 1, AHEAD_MS + 3_600_000);
    const behindMs = clock.monotonicMs() + AHEAD_MS + 3_600_000 - databaseClock.at(clock.elapsedMs());
    expect(behindMs).toBeGreaterThan(0);
    expect(behindMs).toBeLessThan(1000 + SLACK_MS);
  });

  it("follows a database whose clock was set with the next answer", () => {
    const { ask, aheadMs } = setUp();
    ask(1, 1);
    for (const stepMs of [3_600_000, -3_600_000]) {
      ask(1, 1, AHEAD_MS + stepMs);
      expect(Math.abs(aheadMs() - stepMs)).toBeLessThan(SLACK_MS);
    }
  });
});
