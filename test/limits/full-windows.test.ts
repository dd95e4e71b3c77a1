import { describe, expect, it } from "vitest";
import { FullWindows } from "../../src/limits/full-windows.ts";
import type { LimitDecision, LimitRequest } from "../../src/limits/limit.ts";

const REQUEST: LimitRequest = { subject: "s", cost: 1, limits: [{ name: "", perMinute: 10, perDay: undefined }] };

const NEVER = Number.NEGATIVE_INFINITY;

function denial(retryAfterMs: number): LimitDecision {
  return { allowed: false, windows: [], retryAfterMs, degraded: false };
}

describe("a denial that two answers report with different ends", () => {
  it.each([
    ["later", 1000, 1040],
    ["earlier", 1040, 1000],
  ])("ends at the earlier end if the second answer says a %s one", (_, first, second) => {
    const windows = new FullWindows();
    windows.remember(REQUEST, denial(first), 0, windows.generation);
    windows.remember(REQUEST, denial(second), 0, windows.generation);
    expect(windows.find(REQUEST, 999, NEVER)).toMatchObject({ retryAfterMs: 1 });
    expect(windows.find(REQUEST, 1000, NEVER)).toBeUndefined();
  });

  it("ends as the second answer says if the first end has passed", () => {
    const windows = new FullWindows();
    windows.remember(REQUEST, denial(1000), 0, windows.generation);
    windows.remember(REQUEST, denial(500), 1000, windows.generation);
    expect(windows.find(REQUEST, 1499, NEVER)).toMatchObject({ retryAfterMs: 1 });
  });
});

describe("a denial from before a suspension of the machine", () => {
  it("is asked for again, and a denial from after it is used", () => {
    const windows = new FullWindows();
    windows.remember(REQUEST, denial(1000), 100, windows.generation);
    expect(windows.find(REQUEST, 150, 100)).toMatchObject({ retryAfterMs: 950 });
    expect(windows.find(REQUEST, 150, 101)).toBeUndefined();
  });
});

describe("a denial that was asked for before its subject was reset", () => {
  it("is not remembered, but the next one is", () => {
    const windows = new FullWindows();
    const { generation } = windows;
    windows.forget("s");
    windows.remember(REQUEST, denial(1000), 0, generation);
    expect(windows.find(REQUEST, 0, NEVER)).toBeUndefined();
    windows.remember(REQUEST, denial(1000), 0, windows.generation);
    expect(windows.find(REQUEST, 0, NEVER)).toMatchObject({ allowed: false });
  });
});
