/** Tests of requests that a limiter counts together or not at all. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { LocalLimiter } from "../../src/limits/local-limiter.ts";
import { recordingLog } from "../support/recording-log.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { eventually } from "../support/until.ts";
import { newLimiter, request } from "./new-limiter.ts";

let store: ReturnType<typeof newLimiter>["store"];
let limiter: ReturnType<typeof newLimiter>["limiter"];

beforeEach(() => {
  ({ store, limiter } = newLimiter());
});
afterEach(() => limiter.close());

const remaining = async (subject: string) =>
  (await limiter.decide(request({ subject, cost: 0 }))).windows.map((window) => window.remaining);
const unlimited = (subject: string): LimitRequest => ({
  subject,
  cost: 1,
  limits: [{ name: "", perMinute: undefined, perDay: undefined }],
});

describe("requests of one call", () => {
  it("are asked in one group, and none is counted if one is denied", async () => {
    await limiter.decide(request({ subject: "full", cost: 10 }));
    const decisions = await limiter.decideTogether([request({ subject: "a" }), request({ subject: "full" })]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, false]);
    expect(store.groups.at(-1)).toHaveLength(2);
    expect(await remaining("a")).toEqual([10]);
    expect((await limiter.decideTogether([request({ subject: "a" }), request({ subject: "b" })])).length).toBe(2);
    expect([await remaining("a"), await remaining("b")]).toEqual([[9], [9]]);
  });

  it("are allowed in their places if they have no limit, and ask nothing if none has one", async () => {
    const decisions = await limiter.decideTogether([unlimited("x"), request({ subject: "a" }), unlimited("y")]);
    expect(decisions.map(({ windows }) => windows.length)).toEqual([0, 1, 0]);
    expect(store.groups).toHaveLength(1);
    expect(await limiter.decideTogether([unlimited("x")])).toMatchObject([{ allowed: true, windows: [] }]);
    expect(await limiter.decideTogether([])).toEqual([]);
    expect(store.groups).toHaveLength(1);
  });

  it("are never divided by the largest size of a group", async () => {
    const before = Array.from({ length: 127 }, (_, at) => limiter.decide(request({ subject: `before ${at}` })));
    const together = limiter.decideTogether([request({ subject: "a" }), request({ subject: "b", cost: 11 })]);
    const after = limiter.decide(request({ subject: "after" }));
    expect((await together).map(({ allowed }) => allowed)).toEqual([true, false]);
    await Promise.all([...before, after]);
    expect(store.groups.map(({ length }) => length)).toEqual([129, 1]);
    expect(await remaining("a")).toEqual([10]);
  });

  it("are counted one by one if the store keeps them in different places", async () => {
    store.failingGroup = "none";
    const decisions = await limiter.decideTogether([request({ subject: "a" }), request({ subject: "b", cost: 11 })]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, false]);
    expect(await remaining("a")).toEqual([9]);
    expect(
      store.groups.flat().some(({ goesOn }) => goesOn),
      "a run never begins that can't end",
    ).toBe(false);
  });

  it("are decided together by this process while the store is unreachable, which the store learns later", async () => {
    store.mood = "fails";
    for (let call = 0; call < 3; call++) await limiter.decide(request({ subject: `opens ${call}` }));
    const run = (cost: number) => [request({ subject: "a" }), request({ subject: "b", cost })];
    const denied = await limiter.decideTogether(run(4));
    expect(denied, "the share of one of four processes is 3").toMatchObject([
      { allowed: true, degraded: true, windows: [{ limit: 10, remaining: 3 }] },
      { allowed: false, degraded: true, retryAfterMs: 1_000 },
    ]);
    expect((await limiter.decideTogether(run(3))).map(({ allowed }) => allowed)).toEqual([true, true]);
    store.mood = "answers";
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
    await limiter.decideTogether([request({ subject: "a", cost: 0 }), request({ subject: "b", cost: 0 })]);
    expect([await remaining("a"), await remaining("b")]).toEqual([[9], [7]]);
  });

  it("are told to the store later only if it certainly did not count them", async () => {
    let answer = () => {};
    store.toldAfter = new Promise((resolve) => {
      answer = resolve;
    });
    const run = [request({ subject: "a" }), request({ subject: "b" })];
    expect(await limiter.decideTogether(run)).toMatchObject([{ degraded: true }, { degraded: true }]);
    answer();
    store.toldAfter = undefined;
    expect([await remaining("a"), await remaining("b")], "the store counted them once").toEqual([[9], [9]]);
  });

  it("are decided together without a shared store too", async () => {
    const local = new LocalLimiter({ clock: new StandingClock(), log: recordingLog() });
    const run = (cost: number) => [request({ subject: "a" }), unlimited("x"), request({ subject: "b", cost })];
    expect((await local.decideTogether(run(11))).map(({ allowed }) => allowed)).toEqual([true, true, false]);
    expect((await local.decideTogether(run(10))).map(({ windows }) => windows[0]?.remaining)).toEqual([
      9,
      undefined,
      0,
    ]);
  });
});
