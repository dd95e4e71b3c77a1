import { expect, it } from "vitest";
import { StallWatch } from "../../src/changes/stall-watch.ts";
import { Turns } from "../support/turns.ts";

it("a long tick is a stall for the waits that it interrupted, and for none that began later", () => {
  const { clock, timers, turn } = new Turns();
  const stalls = new StallWatch(clock, timers);
  const before = stalls.begin();
  turn(20);
  const meanwhile = stalls.begin();
  turn(200);
  const after = stalls.begin();
  turn(20);
  expect([before, meanwhile, after].map((beganAtMs) => stalls.hasStalledSince(beganAtMs))).toEqual([true, true, false]);
});

it("many short ticks are no stall, even if they take 4 s together", () => {
  const { clock, timers, turn } = new Turns();
  const stalls = new StallWatch(clock, timers);
  const beganAtMs = stalls.begin();
  for (let n = 0; n < 50; n++) turn(80);
  expect(stalls.hasStalledSince(beganAtMs)).toBe(false);
});

it("a stall while nothing was watched does not count", () => {
  const { clock, timers, turn } = new Turns();
  const stalls = new StallWatch(clock, timers);
  stalls.begin();
  stalls.end();
  turn(5000);
  const beganAtMs = stalls.begin();
  turn(20);
  expect(stalls.hasStalledSince(beganAtMs)).toBe(false);
});

it("a stall is noticed even before the late timer has run", () => {
  const { clock, timers } = new Turns();
  const stalls = new StallWatch(clock, timers);
  const beganAtMs = stalls.begin();
  clock.advance(500);
  expect(stalls.hasStalledSince(beganAtMs)).toBe(true);
});

it("a stall whose timer has not run does not count for a wait that begins after it", () => {
  const { clock, timers } = new Turns();
  const stalls = new StallWatch(clock, timers);
  const before = stalls.begin();
  clock.advance(500);
  const after = stalls.begin();
  expect([before, after].map((beganAtMs) => stalls.hasStalledSince(beganAtMs))).toEqual([true, false]);
});

it("no timer is left when nothing is watched", () => {
  const { clock, timers, turn, waiting } = new Turns();
  const stalls = new StallWatch(clock, timers);
  stalls.begin();
  stalls.begin();
  turn(200);
  stalls.end();
  expect(waiting.size).toBe(1);
  stalls.end();
  expect(waiting.size).toBe(0);
});
