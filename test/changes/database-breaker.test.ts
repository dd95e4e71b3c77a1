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
  /** One probe's time, and all that its answer settles. */
  const probe = async () => {
    turn(500);
    await new Promise(setImmediate);
  };
  const end = () => {
    isAway = false;
  };
  return { breaker, probe, end, probes: () => probes };
}

it("finds out by itself that the database answers again, where no caller reads", async () => {
  const { breaker, probe, end } = setUp();
  breaker.failed();
  await probe();
  expect(breaker.isOpen).toBe(true);
  end();
  await probe();
  expect(breaker.isOpen).toBe(false);
});

it("tries once in 500 ms, a caller's read included, and not at all while it is closed or after its stop", async () => {
  const { breaker, probe, end, probes } = setUp();
  await probe();
  expect(probes()).toBe(0);
  breaker.failed();
  breaker.failed();
  expect(breaker.mayRead()).toBe(false);
  await probe();
  expect(probes()).toBe(1);
  expect(breaker.mayRead()).toBe(false);
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
