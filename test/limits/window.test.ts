import { describe, expect, it } from "vitest";
import { Window } from "../../src/limits/window.ts";

/** A window of 60 ms: buckets of 1 ms, so that the figures below read as bucket numbers. */
function windowOf(counts: Record<number, number>): Window {
  const window = new Window(60);
  for (const [atMs, cost] of Object.entries(counts)) {
    window.slide(Number(atMs));
    window.count(cost);
  }
  return window;
}

describe("what a window holds", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, total: number]>([
    ["nothing at first", {}, 5, 0],
    ["what was counted in one bucket", { 100: 3 }, 100, 3],
    ["a count until its bucket is the 60th before the current one", { 100: 3 }, 160, 3],
    ["a count no longer when its bucket is the 61st before", { 100: 3 }, 161, 0],
    ["each count for its own time", { 100: 1, 130: 2, 160: 4 }, 160, 7],
    ["each count for its own time, later", { 100: 1, 130: 2, 160: 4 }, 161, 6],
    ["each count for its own time, much later", { 100: 1, 130: 2, 160: 4 }, 191, 4],
    ["nothing after a long silence", { 100: 1, 130: 2 }, 1_000_000, 0],
    ["what was counted after a long silence", { 100: 1, 1000000: 2 }, 1_000_000, 2],
    ["what is of a later time when the clock steps back", { 100: 1, 130: 2 }, 90, 3],
  ])("%s", (_what, counts, atMs, total) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.total).toBe(total);
  });

  it("is right over more buckets than it keeps", () => {
    const window = new Window(60);
    for (let atMs = 0; atMs < 1000; atMs++) {
      window.slide(atMs);
      window.count(1);
      expect(window.total).toBe(Math.min(atMs + 1, 61));
    }
  });
});

describe("time until there is room", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, cost: number, limit: number, waitMs?: number]>([
    ["none where it fits", { 100: 3 }, 100, 2, 5, 0],
    ["until the only bucket has slid out", { 100: 5 }, 100, 1, 5, 61],
    ["less as time passes", { 100: 5 }, 150, 1, 5, 11],
    ["until enough buckets have slid out", { 100: 1, 110: 1, 120: 3 }, 130, 2, 5, 41],
    ["until all have, for a cost as large as the limit", { 100: 1, 110: 1, 120: 3 }, 130, 5, 5, 51],
    ["until a limit that was lowered is met again", { 100: 50, 110: 2 }, 110, 1, 3, 51],
    ["never for a cost above the limit", { 100: 1 }, 100, 6, 5, undefined],
    ["never under a limit of 0", {}, 100, 1, 0, undefined],
  ])("%s", (_what, counts, atMs, cost, limit, waitMs) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.msUntilRoom(cost, limit)).toBe(waitMs);
  });
});

describe("time until it is empty", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, waitMs: number]>([
    ["none for an empty one", {}, 100, 0],
    ["until the last bucket has slid out", { 100: 1, 120: 1 }, 125, 56],
    ["none after that", { 100: 1, 120: 1 }, 181, 0],
  ])("%s", (_what, counts, atMs, waitMs) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.msUntilEmpty()).toBe(waitMs);
  });

  it("a bucket ends with its width, not 60 widths after the count", () => {
    const window = new Window(60_000);
    window.slide(10_999);
    window.count(1);
    expect(window.msUntilEmpty()).toBe(60_001);
  });
});

describe("a clock that steps back", () => {
  it("holds later counts for one whole length, and not longer", () => {
    const window = windowOf({ 1000: 2, 1010: 3 });
    window.slide(500);
    expect(window.msUntilRoom(1, 5)).toBe(61);
    window.slide(560);
    expect(window.total).toBe(5);
    window.slide(561);
    expect(window.total).toBe(0);
  });

  it("leaves earlier counts where they are", () => {
    const window = windowOf({ 1000: 2, 1010: 3 });
    window.slide(1005);
    window.slide(1061);
    expect(window.total).toBe(3);
  });

  it("does not bring back what had slid out", () => {
    const window = windowOf({ 1000: 2, 1050: 3 });
    window.slide(1061);
    expect(window.total).toBe(3);
    window.slide(1000);
    expect(window.total).toBe(3);
    window.count(1);
    expect(window.total).toBe(4);
  });
});
