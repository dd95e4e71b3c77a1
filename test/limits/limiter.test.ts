import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DAY_MS, MINUTE_MS } from "../../src/lib/clock.ts";
import type { LimitRequest } from "../../src/limits/limit.ts";
import { LocalLimiter } from "../../src/limits/local-limiter.ts";
import { eventually } from "../support/until.ts";
import { limits, newLimiter, request } from "./new-limiter.ts";

let clock: ReturnType<typeof newLimiter>["clock"];
let store: ReturnType<typeof newLimiter>["store"];
let log: ReturnType<typeof newLimiter>["log"];
let limiter: ReturnType<typeof newLimiter>["limiter"];

beforeEach(() => {
  ({ clock, store, log, limiter } = newLimiter());
});
afterEach(() => limiter.close());

describe("group commit", () => {
  it("asks the store once for all calls of one event-loop tick, in their order", async () => {
    const decisions = await Promise.all(
      Array.from({ length: 50 }, (_, at) => limiter.decide(request({ subject: `s${at % 4}` }))),
    );
    expect(store.groups).toHaveLength(1);
    expect(store.groups[0]!.map(({ subject }) => subject)).toEqual(Array.from({ length: 50 }, (_, at) => `s${at % 4}`));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(40);
  });

  it("lets a later request of decideAll see what an earlier one counted", async () => {
    const decisions = await limiter.decideAll([request({ cost: 6 }), request({ cost: 6 }), request({ cost: 4 })]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, false, true]);
  });

  it("sends groups of at most 128, so that no group keeps the store busy for long", async () => {
    await limiter.decideAll(Array.from({ length: 300 }, () => request({ cost: 0 })));
    expect(store.groups.map(({ length }) => length)).toEqual([128, 128, 44]);
  });

  it("does not ask the store about a request without limits", async () => {
    const none = [{ name: "", perMinute: undefined, perDay: undefined }];
    expect(await limiter.decide(request({ limits: none }))).toMatchObject({ allowed: true, windows: [] });
    expect(await limiter.decide(request({ limits: [] }))).toMatchObject({ allowed: true, degraded: false });
    expect(store.groups).toHaveLength(0);
  });

  it.each([
    ["a cost that is not a whole number", request({ cost: 0.5 })],
    ["a negative cost", request({ cost: -1 })],
    ["two limits with one name", request({ limits: [...limits, ...limits] })],
    ["ten limits", request({ limits: Array.from({ length: 10 }, (_, at) => ({ ...limits[0]!, name: `${at}` })) })],
  ])("throws for %s, because it is our own bug", (_what, wrong) => {
    expect(() => limiter.decide(wrong)).toThrow();
    expect(store.groups).toHaveLength(0);
  });
});

describe("a full window", () => {
  const asked = async (changes: Partial<LimitRequest> = {}) => {
    const before = store.groups.length;
    const decision = await limiter.decide(request(changes));
    return { ...decision, asks: store.groups.length - before };
  };

  it("denies without asking the store, with a retryAfterMs that stays exact as time passes", async () => {
    await limiter.decide(request({ cost: 10 }));
    const startMs = clock.monotonicMs();
    const first = await asked();
    expect(first).toMatchObject({ allowed: false, asks: 1 });
    clock.advance(3_000);
    const second = await asked();
    expect(second).toMatchObject({ allowed: false, asks: 0, windows: [{ remaining: 0 }] });
    const passedMs = first.retryAfterMs! - second.retryAfterMs!;
    // The time that the test itself takes passes too.
    expect(passedMs).toBeGreaterThan(2_900);
    expect(passedMs).toBeLessThanOrEqual(Math.ceil(clock.monotonicMs() - startMs));
    expect(second.windows[0]!.resetAfterMs).toBe(second.retryAfterMs);
  });

  it("is asked for again after its denials were forgotten, and its counts stay", async () => {
    await limiter.decide(request({ cost: 10 }));
    await asked();
    limiter.forget("other");
    expect(await asked()).toMatchObject({ allowed: false, asks: 0 });
    limiter.forget(request().subject);
    expect(await asked()).toMatchObject({ allowed: false, asks: 1 });
    limiter.forgetAll();
    expect(await asked()).toMatchObject({ allowed: false, asks: 1 });
    expect(await asked()).toMatchObject({ allowed: false, asks: 0 });
  });

  it("still counts a call that has happened, and so asks the store", async () => {
    await limiter.decide(request({ cost: 10 }));
    await asked();
    expect(await asked({ admitted: true })).toMatchObject({ allowed: true, asks: 1, windows: [{ remaining: 0 }] });
    expect(await asked()).toMatchObject({ allowed: false, asks: 0 });
  });

  it("is asked for again after 5 s", async () => {
    await limiter.decide(request({ cost: 10 }));
    await asked();
    clock.advance(4_900);
    expect((await asked()).asks).toBe(0);
    clock.advance(100);
    expect(await asked()).toMatchObject({ allowed: false, asks: 1 });
    expect((await asked()).asks).toBe(0);
  });

  it("is asked for again as soon as a call would be allowed, and the call is allowed", async () => {
    await limiter.decide(request({ cost: 10 }));
    clock.advance(58_000);
    const { retryAfterMs } = await asked();
    expect(retryAfterMs).toBeLessThan(3_001);
    clock.advance(retryAfterMs!);
    expect(await asked()).toMatchObject({ allowed: true, asks: 1 });
  });

  it("does not answer for smaller costs, other figures, names or subjects, or for a cost of 0", async () => {
    await limiter.decide(request({ cost: 8 }));
    expect(await asked({ cost: 3 })).toMatchObject({ allowed: false, asks: 1 });
    expect(await asked({ cost: 3 })).toMatchObject({ allowed: false, asks: 0 });
    const higher = [{ name: "", perMinute: 11, perDay: undefined }];
    const twice = [...limits, { name: "a", perMinute: 5, perDay: undefined }];
    expect(await asked({ cost: 0 })).toMatchObject({ allowed: true, asks: 1 });
    expect(await asked({ cost: 3, limits: twice })).toMatchObject({ allowed: false, asks: 1 });
    expect(await asked({ cost: 3, subject: "t" })).toMatchObject({ allowed: true, asks: 1 });
    expect(await asked({ cost: 3, limits: higher })).toMatchObject({ allowed: true, asks: 1 });
    const other = [{ ...limits[0]!, name: "other" }];
    expect(await asked({ cost: 3, limits: other })).toMatchObject({ allowed: true, asks: 1 });
    expect(await asked({ cost: 2 })).toMatchObject({ allowed: false, asks: 1 });
    expect(await asked({ cost: 3 })).toMatchObject({ allowed: false, asks: 0 });
  });

  it("denies a larger cost too, with that cost's own retryAfterMs", async () => {
    await limiter.decide(request({ cost: 2 }));
    clock.advance(5_000);
    await limiter.decide(request({ cost: 8 }));
    const small = await asked({ cost: 1 });
    const large = await asked({ cost: 3 });
    expect(large.retryAfterMs! - small.retryAfterMs!).toBeGreaterThan(4_000);
    expect(await asked({ cost: 3 })).toMatchObject({ allowed: false, asks: 0 });
  });

  it("is forgotten when it is reset", async () => {
    await limiter.decide(request({ cost: 10 }));
    await asked();
    await limiter.reset("s", []);
    expect(await asked()).toMatchObject({ allowed: true, windows: [{ remaining: 9 }] });
  });

  it("is not remembered from a call that was under way during the reset", async () => {
    await limiter.decide(request({ cost: 10 }));
    const { promise, resolve: tell } = Promise.withResolvers<void>();
    store.toldAfter = promise;
    const denied = limiter.decide(request());
    await eventually(() => expect(store.groups).toHaveLength(2));
    await limiter.reset("s", []);
    tell();
    expect(await denied, "the control: it was decided before the reset").toMatchObject({ allowed: false });
    expect(await asked()).toMatchObject({ allowed: true, windows: [{ remaining: 9 }] });
  });

  it("is not remembered for a cost that is above the limit", async () => {
    expect(await asked({ cost: 11 })).toMatchObject({ allowed: false, retryAfterMs: undefined, asks: 1 });
    expect(await asked()).toMatchObject({ allowed: true });
  });
});

describe.each(["is silent", "fails"] as const)("a store that %s", (mood) => {
  beforeEach(() => {
    store.mood = mood;
  });
  const open = async () => {
    for (let call = 0; call < 3; call++) await limiter.decide(request({ subject: `opens ${call}` }));
  };

  it("leaves the call to this process's share of the limit within 60 ms, and says that it is degraded", async () => {
    const startMs = performance.now();
    const decision = await limiter.decide(request());
    expect(performance.now() - startMs).toBeLessThan(mood === "fails" ? 45 : 120);
    expect(decision).toMatchObject({ allowed: true, degraded: true, windows: [{ limit: 10, remaining: 2 }] });
  });

  it("admits ceil(L / processes) here, and nothing if L is 0", async () => {
    await open();
    const decisions = await limiter.decideAll(Array.from({ length: 10 }, () => request()));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(3);
    expect(decisions.every(({ degraded }) => degraded)).toBe(true);
    expect(limiter.degradedDecisions()).toBe(13);
    expect(limiter.counts.decisions.degraded).toEqual({ admitted: 6, refused: 7 });
    expect(decisions.at(-1)!.retryAfterMs).toBeGreaterThan(59_000);
    const none = [{ name: "none", perMinute: 0, perDay: undefined }];
    expect(await limiter.decide(request({ limits: none }))).toMatchObject({ allowed: false, retryAfterMs: undefined });
  });

  it("gives a retryAfterMs for a cost above the share, and none for a cost above the limit", async () => {
    await open();
    expect(await limiter.decide(request({ cost: 4 }))).toMatchObject({ allowed: false, retryAfterMs: 1_000 });
    expect(await limiter.decide(request({ cost: 11 }))).toMatchObject({ allowed: false, retryAfterMs: undefined });
  });

  it("is not asked any more after 3 failures in a row, and calls are answered immediately", async () => {
    expect(limiter.isDegraded()).toBe(false);
    await open();
    expect(limiter.isDegraded()).toBe(true);
    const groups = store.groups.length;
    const startMs = performance.now();
    for (let call = 0; call < 200; call++) await limiter.decide(request());
    expect(performance.now() - startMs).toBeLessThan(2_000);
    expect(
      store.groups
        .slice(groups)
        .flat()
        .filter(({ subject }) => subject === "s"),
    ).toEqual([]);
  });

  it("is used again within a second of its recovery, and no caller waits for the probes", async () => {
    await open();
    store.mood = "answers";
    const startMs = performance.now();
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
    expect(performance.now() - startMs).toBeLessThan(1_000);
    expect(await limiter.decide(request())).toMatchObject({ degraded: false, windows: [{ remaining: 9 }] });
  });

  it("fails a reset, because nothing was reset", async () => {
    await expect(limiter.reset("s", [])).rejects.toMatchObject({ reason: "LIMITS_UNAVAILABLE", retryAfterMs: 1000 });
  });
});

it("the limiter renews the connection of a store that stays unreachable", async () => {
  store.mood = "is silent";
  for (let call = 0; call < 3; call++) await limiter.decide(request());
  await eventually(() => expect(store.renewals).toBe(1));
});

it("an outage is one line in the log, and its end is another one", async () => {
  store.mood = "fails";
  for (let call = 0; call < 20; call++) await limiter.decide(request());
  store.mood = "answers";
  await eventually(() => expect(limiter.isDegraded()).toBe(false));
  await limiter.decide(request());
  expect(log.lines.map(({ level, fields }) => [level, fields.cause])).toEqual([
    ["warn", "READONLY"],
    ["info", undefined],
  ]);
});

describe("the breaker", () => {
  const attempt = async (mood: "answers" | "fails") => {
    store.mood = mood;
    await limiter.decide(request({ subject: `${mood} ${store.groups.length}` }));
  };

  it("opens when half of the last 20 failed, never 3 in a row", async () => {
    for (let pair = 0; pair < 9; pair++) {
      await attempt("answers");
      await attempt("fails");
    }
    await attempt("answers");
    expect(limiter.isDegraded()).toBe(false);
    await attempt("fails");
    expect(limiter.isDegraded()).toBe(true);
  });

  it("remembers no earlier failures once it has closed", async () => {
    for (let call = 0; call < 17; call++) await attempt("answers");
    for (let call = 0; call < 3; call++) await attempt("fails");
    store.mood = "answers";
    await eventually(() => expect(limiter.isDegraded()).toBe(false));
    for (let call = 0; call < 2; call++) await attempt("fails");
    expect(limiter.isDegraded()).toBe(false);
    for (let pair = 0; pair < 8; pair++) {
      await attempt("answers");
      await attempt("fails");
    }
    expect(limiter.isDegraded()).toBe(false);
  });

  it("stays closed when a third of the calls fail", async () => {
    for (let round = 0; round < 20; round++) {
      await attempt("answers");
      await attempt("answers");
      await attempt("fails");
    }
    expect(limiter.isDegraded()).toBe(false);
  });
});

describe("a store in which some subjects can't be decided", () => {
  const ofGroup = (group: string) => (at: number) => request({ subject: `${group} ${at}` });
  beforeEach(() => {
    store.failingGroup = "lost";
  });

  it("degrades only their requests, and counts every other request once", async () => {
    const asked = Array.from({ length: 30 }, (_, at) => ofGroup(at % 3 === 0 ? "lost" : `good${at % 3}`)(at));
    const decisions = await limiter.decideAll(asked);
    expect(decisions.map(({ degraded }) => degraded)).toEqual(asked.map(({ subject }) => subject.startsWith("lost")));
    const counted = await limiter.decideAll(asked.filter(({ subject }) => subject.startsWith("good")));
    expect(new Set(counted.map(({ windows }) => windows[0]!.remaining))).toEqual(new Set([8]));
  });

  it("is still asked for all other subjects, even after 20 failures", async () => {
    for (let round = 0; round < 20; round++) {
      await limiter.decideAll([ofGroup("good1")(round), ofGroup("lost")(round), ofGroup("good2")(round)]);
    }
    expect(limiter.isDegraded()).toBe(false);
  });

  it("counts as unreachable when it decides nothing at all", async () => {
    for (let round = 0; round < 3; round++) await limiter.decideAll([ofGroup("lost")(round)]);
    expect(limiter.isDegraded()).toBe(true);
  });
});

describe("the limiter of one process alone", () => {
  it("decides like the shared limiter, and is never degraded", async () => {
    const local = new LocalLimiter({ clock, log });
    const decisions = await local.decideAll([request({ cost: 6 }), request({ limits: [] }), request({ cost: 6 })]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true, false]);
    expect(await local.decide(request({ cost: 4 }))).toMatchObject({ allowed: true, degraded: false });
    await local.reset("s", []);
    expect(await local.decide(request({ cost: 10 }))).toMatchObject({ allowed: true });
    expect(local.isDegraded()).toBe(false);
  });

  it("warns once in ten minutes that it forgets limits in use, and counts them", async () => {
    const local = new LocalLimiter({ clock, log, maxLimits: 100 });
    const use = (name: string, count: number) =>
      local.decideAll(Array.from({ length: count }, (_, at) => request({ subject: `${name} ${at}` })));
    await use("fits", 100);
    expect([local.forgottenLimits(), log.lines]).toEqual([0, []]);
    await use("more", 50);
    expect(local.forgottenLimits()).toBe(50);
    expect(log.lines).toMatchObject([
      { level: "warn", fields: { forgotten: 1, advice: expect.stringContaining("set REDIS_URL") } },
    ]);
    clock.advance(10 * MINUTE_MS);
    await use("still more", 20);
    expect(log.lines.slice(1)).toMatchObject([{ level: "warn", fields: { forgotten: 51 } }]);
    // Limits without counts are forgotten without loss.
    clock.advance(2 * DAY_MS);
    await use("later", 100);
    expect(local.forgottenLimits()).toBe(70);
  });

  it("admits at most L in a real minute when the host's clock is set forward or back", async () => {
    let [passedMs, shiftMs] = [0, 0];
    const local = new LocalLimiter({
      clock: { nowMs: () => 1.7e12 + passedMs + shiftMs, monotonicMs: () => passedMs },
      log,
    });
    const admitted = async () => {
      let count = 0;
      while ((await local.decide(request({ cost: 1 }))).allowed) count++;
      return count;
    };
    expect(await admitted()).toBe(10);
    passedMs = 30_000;
    for (shiftMs of [61_000, 2 * DAY_MS, -2 * DAY_MS]) expect(await admitted()).toBe(0);
    // The control: after a real minute there is room again.
    passedMs = 61_000;
    expect(await admitted()).toBe(10);
  });

  it("forgets limits without counts, and keeps at most maxLimits", async () => {
    const { MemoryLimitStore } = await import("../../src/limits/memory-limit-store.ts");
    const memory = new MemoryLimitStore({ clock, maxLimits: 100 });
    const use = (subject: string) => memory.decide([request({ subject })]);
    for (let at = 0; at < 300; at++) await use(`many ${at}`);
    expect(memory.size).toBe(100);
    expect((await use("many 299"))[0]!.windows[0]!.remaining).toBe(8);
    clock.advance(2 * DAY_MS);
    for (let at = 0; at < 60; at++) await use(`new ${at}`);
    expect(memory.size).toBe(60);
  });
});
