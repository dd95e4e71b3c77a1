/** Tests of what a limiter tells a store that is reachable again. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemTimers } from "../../src/lib/clock.ts";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { StorePart } from "../../src/limits/store-part.ts";
import { UntoldCounts } from "../../src/limits/untold-counts.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { eventually } from "../support/until.ts";
import { FaultyLimitStore } from "./faulty-limit-store.ts";
import { limits, newLimiter, request } from "./new-limiter.ts";

let clock: ReturnType<typeof newLimiter>["clock"];
let store: ReturnType<typeof newLimiter>["store"];
let limiter: ReturnType<typeof newLimiter>["limiter"];

beforeEach(() => {
  ({ clock, store, limiter } = newLimiter());
});
afterEach(() => limiter.close());

describe("a store that is reachable again", () => {
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
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
  };

  it.each([1, 2, 3])(
    "admits at most (%d + 1) * L in the minute if it comes back empty, with %d processes",
    async (replicas) => {
      limiter.close();
      ({ store, limiter } = newLimiter({ replicas, workers: 1 }));
      const before = await admitted(request());
      await fail();
      // The limiter does not ask about limits that are known to be full, so each phase uses another figure of the same
      // window.
      const upTo = (figure: number) => request({ limits: [{ ...limits[0]!, perMinute: figure }] });
      const during = await admitted(upTo(11));
      store.lose();
      await comeBack();
      const after = await admitted(upTo(12));
      expect({ before, during }).toEqual({ before: 10, during: Math.ceil(11 / replicas) });
      expect(after, "it counts what was admitted while it was unreachable").toBe(12 - during);
      expect(before + during + after).toBeLessThanOrEqual((replicas + 1) * 12);
    },
  );

  it("is told of calls that had happened, also of those beyond the share", async () => {
    await fail();
    expect(await limiter.decide(request({ cost: 25, admitted: true }))).toMatchObject({
      allowed: true,
      degraded: true,
      windows: [{ remaining: 0 }],
    });
    expect((await limiter.decide(request())).allowed).toBe(false);
    await comeBack();
    const wide = request({ cost: 0, limits: [{ ...limits[0]!, perMinute: 100 }] });
    expect((await limiter.decide(wide)).windows[0]!.remaining).toBe(75);
  });

  it("is told once, for each limit, what was admitted without it, and other windows stay as they are", async () => {
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

  it("is not told what was admitted more than a minute ago or was reset since", async () => {
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

  it("is told again if the first telling failed", async () => {
    await fail();
    await admitted(request(), 2);
    await comeBack();
    store.mood = "fails";
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ degraded: true });
    store.mood = "answers";
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ windows: [{ remaining: 8 }] });
  });

  describe("after a subject was limited by 40,000 names", () => {
    const NAMES = 40_000;
    const byName = (at: number, cost = 1): LimitRequest =>
      request({ subject: "many", cost, limits: [{ name: `n${at}`, perMinute: 40, perDay: undefined }] });
    beforeEach(async () => {
      await fail();
      await limiter.decideAll(Array.from({ length: NAMES }, (_, at) => byName(at)));
      await comeBack();
      store.groups.length = 0;
    });
    const told = () => store.groups.flat().filter(({ admitted }) => admitted);

    it("is told with each call only about the names of that call", async () => {
      expect((await limiter.decide(byName(7, 0))).windows).toMatchObject([{ remaining: 39 }]);
      expect(told().map(({ limits: [one], cost }) => [one!.name, cost])).toEqual([["n7", 1]]);
      expect(store.groups, "the count goes in one group with the request").toHaveLength(1);
      await limiter.decide(byName(7, 0));
      expect(told(), "once").toHaveLength(1);
    });

    it("is told of names with the same count in one request, so a call adds at most one request", async () => {
      const asked = (subject: string): LimitRequest => ({
        subject,
        cost: 0,
        limits: Array.from({ length: 9 }, (_, at) => ({ name: `n${at}`, perMinute: 40, perDay: undefined })),
      });
      await limiter.decideAll([asked("many"), asked("other")]);
      expect(store.groups.map((group) => group.length)).toEqual([3]);
      expect(told()).toMatchObject([{ cost: 1, limits: asked("many").limits.map(({ name }) => ({ name })) }]);
    });
  });

  it("has at most 100,000 limits to be told of", async () => {
    const counts = new UntoldCounts();
    for (let at = 0; at < 100_010; at++) counts.add(at < 20 ? "first" : "second", `${at}`, 1);
    const left = (subject: string, from: number, to: number) =>
      counts.take(
        subject,
        Array.from({ length: to - from }, (_, at) => ({ name: `${from + at}` })),
      ).length;
    expect(left("first", 0, 20)).toBe(10);
    expect(left("second", 20, 100_010)).toBe(99_990);
    expect(left("second", 20, 100_010)).toBe(0);
  });

  it("is not told again what it may have counted before a late or lost answer", async () => {
    let answer = () => {};
    store.toldAfter = new Promise((resolve) => {
      answer = resolve;
    });
    expect(await limiter.decide(request()), "the store counted it, and its answer is late").toMatchObject({
      degraded: true,
    });
    answer();
    store.toldAfter = undefined;
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ degraded: false, windows: [{ remaining: 9 }] });
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ windows: [{ remaining: 9 }] });
    // The control: the store is told of a count that it refused.
    store.mood = "fails";
    expect(await limiter.decide(request())).toMatchObject({ degraded: true });
    store.mood = "answers";
    expect(await limiter.decide(request({ cost: 0 }))).toMatchObject({ windows: [{ remaining: 8 }] });
  });
});

describe("telling the store", () => {
  /** Only telling fails, because it comes in a group of its own. */
  class TellingFails extends FaultyLimitStore {
    failing = true;
    override groupOf(): string {
      return "";
    }
    override async decide(requests: readonly LimitRequest[]) {
      const isTold = requests.every(({ limits: [one] }) => one!.name === "told");
      if (isTold && this.failing) throw new Error("no");
      return super.decide(requests);
    }
  }
  const told = request({ limits: [{ name: "told", perMinute: undefined, perDay: undefined }], admitted: true });

  it("neither opens the breaker of the part nor resets its count of failures", async () => {
    const clock = new StandingClock();
    const faulty = new TellingFails(clock);
    const opened: string[] = [];
    const part = new StorePart({
      store: faulty,
      part: "",
      timers: systemTimers,
      onUnreachable: (name) => void opened.push(name),
      onBack: () => {},
    });
    for (let n = 0; n < 30; n++) expect(await part.tell(told)).toBe("may be counted");
    expect(part.isUnreachable, "30 failures do not open it").toBe(false);
    // Two of the three failures that open the breaker, then one telling that succeeds, then the third failure.
    faulty.mood = "fails";
    await part.decide(request());
    await part.decide(request());
    faulty.mood = "answers";
    faulty.failing = false;
    await part.tell(told);
    faulty.mood = "fails";
    expect(await part.decide(request())).toBe("not counted");
    expect(part.isUnreachable, "a success does not reset the count").toBe(true);
    expect(opened).toEqual([""]);
    part.close();
  });
});
