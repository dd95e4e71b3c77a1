/** What a limiter tells a store that comes back. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { limits, newLimiter, request } from "./new-limiter.ts";

let clock: ReturnType<typeof newLimiter>["clock"];
let store: ReturnType<typeof newLimiter>["store"];
let limiter: ReturnType<typeof newLimiter>["limiter"];

beforeEach(() => {
  ({ clock, store, limiter } = newLimiter());
});
afterEach(() => limiter.close());

describe("a store that is back", () => {
  const named = [...limits, { name: "search", perMinute: 10, perDay: 100 }];
  const admitted = async (asked: LimitRequest, calls = 30) =>
    (await limiter.decideAll(Array.from({ length: calls }, () => asked))).filter(({ allowed }) => allowed).length;
  const fail = async () => {
    store.mood = "fails";
    for (let call = 0; call < 3; call++) await limiter.decide(request({ subject: `opens ${call}` }));
    expect(limiter.isDegraded()).toBe(true);
  };
  const comeBack = async () => {
    store.mood = "answers";
    await vi.waitFor(() => expect(limiter.isDegraded()).toBe(false), { timeout: 2_000, interval: 5 });
  };

  it.each([1, 2, 3])(
    "empty admits no more than (%d + 1) * L in the minute, with one process of so many",
    async (replicas) => {
      limiter.close();
      ({ store, limiter } = newLimiter({ replicas, workers: 1 }));
      const before = await admitted(request());
      await fail();
      // What is known to be full is not asked for: another figure is another limit of the same window.
      const upTo = (figure: number) => request({ limits: [{ ...limits[0]!, perMinute: figure }] });
      const during = await admitted(upTo(11));
      store.lose();
      await comeBack();
      const after = await admitted(upTo(12));
      expect({ before, during }).toEqual({ before: 10, during: Math.ceil(11 / replicas) });
      expect(after, "what was admitted without it counts").toBe(12 - during);
      expect(before + during + after).toBeLessThanOrEqual((replicas + 1) * 12);
    },
  );

  it("is told once of what was admitted without it, for each limit and in no window of others", async () => {
    await fail();
    expect(await admitted(request({ limits: named, cost: 1 }), 2)).toBe(2);
    expect(await admitted(request({ subject: "other" }), 1)).toBe(1);
    await comeBack();
    const remaining = async (asked: LimitRequest) =>
      (await limiter.decide(asked)).windows.map((window) => window.remaining);
    expect(await remaining(request({ limits: named, cost: 0 }))).toEqual([8, 8, 98]);
    expect(await remaining(request({ limits: named, cost: 1 }))).toEqual([7, 7, 97]);
    expect(await remaining(request({ subject: "other" }))).toEqual([8]);
    expect(await remaining(request({ subject: "third" }))).toEqual([9]);
  });

  it("is told nothing of what was admitted more than a minute ago, or reset since", async () => {
    await fail();
    await admitted(request(), 2);
    await admitted(request({ subject: "reset" }), 2);
    clock.advance(70_000);
    await admitted(request(), 1);
    await comeBack();
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ windows: [{ remaining: 9 }] });
    await limiter.reset("reset", []);
    expect(await limiter.decide(request({ subject: "reset", cost: 0 }))).toMatchObject({
      windows: [{ remaining: 10 }],
    });
  });

  it("is told again where it did not hear", async () => {
    await fail();
    await admitted(request(), 2);
    await comeBack();
    store.mood = "fails";
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ degraded: true });
    store.mood = "answers";
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ windows: [{ remaining: 8 }] });
  });
});
