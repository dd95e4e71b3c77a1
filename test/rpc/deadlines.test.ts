import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Deadlines } from "../../src/rpc/calls/deadlines.ts";
import { parseGrpcTimeout } from "../../src/rpc/lanes/timeout.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** New deadlines whose time begins at 0, and the names of those that expired. */
function start() {
  const expired: string[] = [];
  const deadlines = new Deadlines<string>((name) => void expired.push(name));
  const startMs = Date.now();
  const add = (name: string, inMs: number) => {
    const nowMs = Date.now() - startMs;
    const step = deadlines.add(name, nowMs + inMs, nowMs);
    return () => step.delete(name);
  };
  return { expired, add };
}

it("a deadline expires once, at its time or at most 16 ms later", () => {
  for (let inMs = 1; inMs < 100; inMs += 7) {
    const { expired, add } = start();
    vi.advanceTimersByTime(5);
    add("a", inMs);
    vi.advanceTimersByTime(inMs - 1);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(17);
    expect(expired).toEqual(["a"]);
    vi.advanceTimersByTime(200);
    expect(expired).toEqual(["a"]);
  }
});

it("a deadline that was taken back does not expire, and its neighbours do", () => {
  const { expired, add } = start();
  const takeBack = add("a", 50);
  add("b", 50);
  takeBack();
  vi.advanceTimersByTime(100);
  expect(expired).toEqual(["b"]);
});

it("a step that became empty accepts calls again", () => {
  const { expired, add } = start();
  add("a", 50)();
  add("b", 50);
  vi.advanceTimersByTime(100);
  expect(expired).toEqual(["b"]);
  add("c", 50);
  vi.advanceTimersByTime(100);
  expect(expired).toEqual(["b", "c"]);
});

it("timers end with their calls, except at most one", () => {
  const { add } = start();
  const taken = Array.from({ length: 1000 }, (_, index) => add(String(index), index * 100));
  expect(vi.getTimerCount()).toBe(1000);
  for (const takeBack of taken) takeBack();
  expect(vi.getTimerCount()).toBeLessThanOrEqual(1);
});

it("the longest possible grpc-timeout does not overflow into a short one", () => {
  const { expired, add } = start();
  vi.advanceTimersByTime(5);
  add("a", parseGrpcTimeout("99999999H"));
  vi.advanceTimersByTime(86_400_000);
  expect(expired).toEqual([]);
  vi.advanceTimersByTime(24 * 86_400_000);
  expect(expired).toEqual(["a"]);
});
