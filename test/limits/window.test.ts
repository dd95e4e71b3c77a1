import { describe, expect, it } from "vitest";
import { Window } from "../../src/limits/window.ts";

/** A window of 60 ms: its buckets are 1 ms wide, so the times below are bucket numbers. */
function windowOf(counts: Record<number, number>): Window {
  const window = new Window(60);
  for (const [atMs, cost] of Object.entries(counts)) {
    window.slide(Number(atMs));
    window.count(cost);
  }
  return window;
}

describe("a window holds", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, total: number]>([
    ["nothing at first", {}, 5, 0],
    ["the count of one bucket", { 100: 3 }, 100, 3],
    ["a count until its bucket is the 60th before the current one", { 100: 3 }, 160, 3],
    ["a count no longer once its bucket is the 61st before the current one", { 100: 3 }, 161, 0],
    ["each count for its own time: all three", { 100: 1, 130: 2, 160: 4 }, 160, 7],
    ["each count for its own time: the last two", { 100: 1, 130: 2, 160: 4 }, 161, 6],
    ["each count for its own time: the last one", { 100: 1, 130: 2, 160: 4 }, 191, 4],
    ["nothing after a long time without counts", { 100: 1, 130: 2 }, 1_000_000, 0],
    ["a count after a long time without counts", { 100: 1, 1000000: 2 }, 1_000_000, 2],
    ["the counts of a later time when the clock steps back", { 100: 1, 130: 2 }, 90, 3],
  ])("%s", (_what, counts, atMs, total) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.total).toBe(total);
  });

  it("2^52 at most, and exactly what is left when the first bucket has left", () => {
    const window = windowOf({ 100: 2 ** 52 - 1, 101: 2 ** 52 - 1, 102: 3 });
    expect(window.total).toBe(2 ** 52);
    window.slide(161);
    expect(window.total).toBe(1);
  });

  it("61 buckets at most when more were counted", () => {
    const window = new Window(60);
    for (let atMs = 0; atMs < 1000; atMs++) {
      window.slide(atMs);
      window.count(1);
      expect(window.total).toBe(Math.min(atMs + 1, 61));
    }
  });
});

describe("the time until there is room is", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, cost: number, limit: number, waitMs?: number]>([
    ["0 if the cost fits", { 100: 3 }, 100, 2, 5, 0],
    ["the time until the only bucket has left the window", { 100: 5 }, 100, 1, 5, 61],
    ["shorter as time passes", { 100: 5 }, 150, 1, 5, 11],
    ["the time until enough buckets have left", { 100: 1, 110: 1, 120: 3 }, 130, 2, 5, 41],
    ["the time until all buckets have left if the cost equals the limit", { 100: 1, 110: 1, 120: 3 }, 130, 5, 5, 51],
    ["the time until the counts meet a limit that was lowered", { 100: 50, 110: 2 }, 110, 1, 3, 51],
    ["undefined for a cost above the limit", { 100: 1 }, 100, 6, 5, undefined],
    ["undefined under a limit of 0", {}, 100, 1, 0, undefined],
  ])("%s", (_what, counts, atMs, cost, limit, waitMs) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.msUntilRoom(cost, limit)).toBe(waitMs);
  });
});

describe("the time until a window is empty", () => {
  it.each<[what: string, counts: Record<number, number>, atMs: number, waitMs: number]>([
    ["is 0 for an empty window", {}, 100, 0],
    ["lasts until the last bucket has left", { 100: 1, 120: 1 }, 125, 56],
    ["is 0 after that", { 100: 1, 120: 1 }, 181, 0],
  ])("%s", (_what, counts, atMs, waitMs) => {
    const window = windowOf(counts);
    window.slide(atMs);
    expect(window.msUntilEmpty()).toBe(waitMs);
  });

  it("counts from the end of the bucket, not from the moment of the count", () => {
    const window = new Window(60_000);
    window.slide(10_999);
    window.count(1);
    expect(window.msUntilEmpty()).toBe(60_001);
  });
});

describe("after its clock stepped back, a window", () => {
  it("holds later counts for exactly one whole length", () => {
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

  it("does not bring back counts that had left it", () => {
    const window = windowOf({ 1000: 2, 1050: 3 });
    window.slide(1061);
    expect(window.total).toBe(3);
    window.slide(1000);
    expect(window.total).toBe(3);
    window.count(1);
    expect(window.total).toBe(4);
  });
});
