import { expect, it } from "vitest";
import { DatabaseBreaker } from "../../src/changes/database-breaker.ts";
import { Turns } from "../support/turns.ts";

function setUp() {
  const { clock, timers, turn } = new Turns();
  let [isAway, probes] = [true, 0];
  const breaker = new DatabaseBreaker(clock, timers, async () => {
    probes++;
    if (isAway) throw new Error("away");
  });
  /** Passes the time of one probe, and settles everything that its answer settles. */
  const probe = async () => {
    turn(500);
    await new Promise(setImmediate);
  };
  const end = () => {
    isAway = false;
  };
  return { breaker, probe, end, probes: () => probes };
}

it("the breaker finds out by itself that the database answers again if no caller reads", async () => {
  const { breaker, probe, end } = setUp();
  breaker.failed();
  await probe();
  expect(breaker.isOpen).toBe(true);
  end();
  await probe();
  expect(breaker.isOpen).toBe(false);
});

it("the breaker probes once in 500 ms, and never while it is closed or stopped", async () => {
  const { breaker, probe, end, probes } = setUp();
  await probe();
  expect(probes()).toBe(0);
  breaker.failed();
  breaker.failed();
  await probe();
  expect(probes()).toBe(1);
  end();
  await probe();
  expect(probes()).toBe(2);
  await probe();
  expect(probes()).toBe(2);
  breaker.failed();
  breaker.stop();
  breaker.failed();
  await probe();
  expect(probes()).toBe(2);
});
