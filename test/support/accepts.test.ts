import { expect, it } from "vitest";
import { acceptedByExactWindow, acceptedByFixedWindow, acceptedByWeightedWindow, mostWithin } from "./accepts.ts";

const at = (...timesMs: readonly number[]) => timesMs.map((sentAtMs) => ({ sentAtMs, answeredAtMs: sentAtMs + 2 }));

it("mostWithin counts only calls that were certainly accepted within one window", () => {
  expect(mostWithin([], 100)).toBe(0);
  expect(mostWithin(at(0, 50, 98), 100)).toBe(3);
  // The limiter may have accepted the last call after the window.
  expect(mostWithin(at(0, 50, 99), 100)).toBe(2);
  expect(mostWithin(at(300, 0, 150, 140, 310, 90), 100)).toBe(3);
});

it("mostWithin shows that a fixed and a weighted window accept more than the limit", () => {
  // A dense load that begins 40 ms before the turn of a window.
  const calls = at(...Array.from({ length: 200 }, (_, n) => 60 + n));
  const fixed = acceptedByFixedWindow(calls, 10, 100, 0);
  expect(mostWithin(fixed, 100)).toBe(20);
  const weighted = acceptedByWeightedWindow(calls, 10, 100, 0);
  expect(mostWithin(weighted, 100)).toBeGreaterThan(13);
});

it("an exact window accepts all of an even load of L, and the part of a jam that fits", () => {
  const even = at(...Array.from({ length: 30 }, (_, n) => 10 * n));
  const exact = (calls: typeof even) => acceptedByExactWindow(calls, 10, 100, ({ sentAtMs }) => sentAtMs);
  expect(exact(even)).toHaveLength(30);
  const jammed = at(...Array.from({ length: 30 }, (_, n) => (n < 5 ? 50 : 10 * n)));
  expect(exact(jammed).length).toBeLessThan(30);
  expect(mostWithin(exact(at(...Array.from({ length: 500 }, (_, n) => n))), 100)).toBe(10);
});
