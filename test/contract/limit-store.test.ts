/** The contract of every LimitStore: all stores pass the same cases, and agree with the same brute-force model. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clock, DAY_MS, MINUTE_MS } from "../../src/lib/clock.ts";
import type { LimitDecision, LimitRequest, NamedLimit } from "../../src/limits/limit.ts";
import type { LimitStore } from "../../src/limits/limit-store.ts";
import { MemoryLimitStore } from "../../src/limits/memory-limit-store.ts";
import { RedisConnection } from "../../src/redis/connection.ts";
import { RedisLimitStore } from "../../src/redis/limit-store.ts";
import { recordingLog } from "../support/recording-log.ts";
import { redisAt } from "../support/redis-target.ts";
import { freshRedis, ofRun } from "../support/shared-servers.ts";
import { LimitModel } from "./limit-model.ts";

interface OpenStore {
  readonly store: LimitStore;
  close(): void;
}

/** A time that tests set. It starts where both kinds of bucket begin. */
const START_MS = 20_000 * DAY_MS;
let nowMs = START_MS;
const clock: Clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };

async function openRedisStore(): Promise<OpenStore> {
  const connection = new RedisConnection(redisAt(await freshRedis()), recordingLog());
  if (!(await connection.ready(5_000))) throw new Error("no Redis");
  return { store: new RedisLimitStore({ connection, clock }), close: () => connection.close() };
}

const IN_MEMORY = {
  name: "memory",
  open: async () => ({ store: new MemoryLimitStore({ clock }), close: () => {} }),
};
const STORES = ofRun(IN_MEMORY, "redis", { name: "Redis", open: openRedisStore });

let subjects = 0;
const newSubject = () => `subject ${++subjects}`;

describe.each(STORES)("windows in $name", ({ open }) => {
  let opened: OpenStore;
  let subject = "";
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  async function decide(request: Partial<LimitRequest>): Promise<LimitDecision> {
    const [decision] = await opened.store.decide([{ subject, cost: 1, limits: [], ...request }]);
    return decision!;
  }
  const perMinute = (figure: number, name = ""): NamedLimit[] => [{ name, perMinute: figure, perDay: undefined }];
  const figures = (minute: number | undefined, day: number | undefined, name = ""): NamedLimit[] => [
    { name, perMinute: minute, perDay: day },
  ];

  function start(): void {
    nowMs = START_MS;
    subject = newSubject();
  }

  it("reports both windows after the decision, the minute before the day", async () => {
    start();
    expect(await decide({ limits: figures(20, 1_000) })).toEqual({
      allowed: true,
      retryAfterMs: undefined,
      windows: [
        { name: "", lengthMs: MINUTE_MS, limit: 20, remaining: 19, resetAfterMs: 61_000 },
        { name: "", lengthMs: DAY_MS, limit: 1_000, remaining: 999, resetAfterMs: 61 * 1_440_000 },
      ],
      degraded: false,
    });
  });

  it("allows L calls and denies the next; a retry succeeds at retryAfterMs, and fails 1 ms before", async () => {
    start();
    nowMs += 321;
    const limits = perMinute(3);
    for (let call = 0; call < 3; call++) expect((await decide({ limits })).allowed).toBe(true);
    const denied = await decide({ limits });
    expect(denied).toMatchObject({ allowed: false, retryAfterMs: 61_000 - 321 });
    nowMs += denied.retryAfterMs! - 1;
    expect(await decide({ limits })).toMatchObject({ allowed: false, retryAfterMs: 1 });
    nowMs += 1;
    expect((await decide({ limits })).allowed).toBe(true);
  });

  it("does not admit 2L across the ends of buckets", async () => {
    start();
    nowMs += 999;
    const limits = perMinute(2);
    expect((await decide({ limits, cost: 2 })).allowed).toBe(true);
    nowMs += 59_999;
    expect((await decide({ limits, cost: 2 })).allowed).toBe(false);
  });

  it("counts in all windows or in none", async () => {
    start();
    const both = [...perMinute(5, "a"), ...perMinute(1, "b")];
    expect((await decide({ limits: both })).allowed).toBe(true);
    expect((await decide({ limits: both })).allowed).toBe(false);
    expect((await decide({ limits: perMinute(5, "a"), cost: 0 })).windows[0]!.remaining).toBe(4);
  });

  it("takes the longest of several waits", async () => {
    start();
    await decide({ limits: perMinute(1, "a") });
    nowMs += 5_000;
    await decide({ limits: perMinute(1, "b") });
    expect((await decide({ limits: [...perMinute(1, "a"), ...perMinute(1, "b")] })).retryAfterMs).toBe(61_000);
  });

  it("always allows a call of cost 0, which counts nothing", async () => {
    start();
    expect(await decide({ limits: perMinute(0), cost: 0 })).toMatchObject({ allowed: true, retryAfterMs: undefined });
    await decide({ limits: perMinute(5), cost: 5 });
    expect(await decide({ limits: perMinute(2), cost: 0 })).toMatchObject({
      allowed: true,
      windows: [{ remaining: 0 }],
    });
    expect(await decide({ limits: perMinute(9), cost: 0 })).toMatchObject({
      allowed: true,
      windows: [{ remaining: 4 }],
    });
  });

  it("allows nothing under a limit of 0, and gives no retry time", async () => {
    start();
    expect(await decide({ limits: figures(0, 10) })).toMatchObject({ allowed: false, retryAfterMs: undefined });
    expect(await decide({ limits: figures(10, 0) })).toMatchObject({ allowed: false, retryAfterMs: undefined });
  });

  it("denies a cost above a limit without a retry time, and counts nothing", async () => {
    start();
    expect(await decide({ limits: figures(3, 100), cost: 4 })).toMatchObject({
      allowed: false,
      retryAfterMs: undefined,
    });
    expect((await decide({ limits: figures(3, 100), cost: 3 })).allowed).toBe(true);
  });

  it("counts a call that has happened beyond a limit, and denies later calls until there is room again", async () => {
    start();
    const limits = figures(3, 5);
    await decide({ limits, cost: 3 });
    const told = await decide({ limits, cost: 4, admitted: true });
    expect(told).toMatchObject({ allowed: true, retryAfterMs: undefined });
    expect(told.windows.map(({ remaining }) => remaining)).toEqual([0, 0]);
    const denied = await decide({ limits });
    expect(denied).toMatchObject({ allowed: false, retryAfterMs: 61 * 1_440_000 });
    nowMs += denied.retryAfterMs! - 1;
    expect((await decide({ limits })).allowed).toBe(false);
    nowMs += 1;
    expect((await decide({ limits })).allowed).toBe(true);
  });

  it("counts a call that has happened under a limit of 0, above a figure, and never for a cost of 0", async () => {
    start();
    expect(await decide({ limits: perMinute(0), cost: 2, admitted: true })).toMatchObject({ allowed: true });
    expect(await decide({ limits: perMinute(5), cost: 0, admitted: true })).toMatchObject({
      windows: [{ remaining: 3 }],
    });
    expect(await decide({ limits: perMinute(5), cost: 9, admitted: true })).toMatchObject({
      allowed: true,
      windows: [{ remaining: 0 }],
    });
  });

  it("holds at most 2^52 in a window, so that false reports leave nothing behind", async () => {
    start();
    const remaining = async () => (await decide({ limits: perMinute(5), cost: 0 })).windows[0]!.remaining;
    for (let second = 0; second < 3; second++) {
      await decide({ limits: perMinute(5), cost: 2 ** 52 - 1, admitted: true });
      nowMs += 1_000;
    }
    expect(await remaining()).toBe(0);
    nowMs = START_MS + 61_000;
    expect(await remaining(), "the second report counted 1, and the third nothing").toBe(4);
    nowMs = START_MS + 62_000;
    expect(await remaining()).toBe(5);
  });

  it("gives no retry time if one limit never allows the cost and another is only full", async () => {
    start();
    await decide({ limits: perMinute(2, "a"), cost: 2 });
    const limits = [...perMinute(2, "a"), ...perMinute(1, "b")];
    expect(await decide({ limits, cost: 2 })).toMatchObject({ allowed: false, retryAfterMs: undefined });
  });

  it("counts in a window without a figure, but neither judges nor reports it", async () => {
    start();
    const minuteOnly = await decide({ limits: figures(10, undefined), cost: 7 });
    expect(minuteOnly.windows.map(({ lengthMs }) => lengthMs)).toEqual([MINUTE_MS]);
    expect(await decide({ limits: figures(undefined, 10), cost: 4 })).toMatchObject({ allowed: false });
    expect(await decide({ limits: figures(undefined, 10), cost: 3 })).toMatchObject({ allowed: true });
    expect(await decide({ limits: figures(10, undefined), cost: 1 })).toMatchObject({ allowed: false });
  });

  it("keeps the count when a figure changes", async () => {
    start();
    await decide({ limits: perMinute(10), cost: 8 });
    expect(await decide({ limits: perMinute(5) })).toMatchObject({
      allowed: false,
      windows: [{ limit: 5, remaining: 0 }],
    });
    expect(await decide({ limits: perMinute(20) })).toMatchObject({ allowed: true, windows: [{ remaining: 11 }] });
  });

  it("counts every subject and name separately", async () => {
    start();
    const limits = perMinute(1, "a");
    await decide({ limits });
    for (const other of [`${subject} `, `{${subject}}`, `${subject}:a`, `a:${subject}`, "\0", "ä", ""]) {
      expect((await decide({ subject: other, limits })).windows[0]!.remaining).toBe(0);
      expect((await decide({ subject: other, limits })).allowed).toBe(false);
      await opened.store.reset(other, ["a"]);
    }
    for (const name of ["", "b", "aa", "a/a"]) {
      expect((await decide({ limits: perMinute(1, name) })).allowed).toBe(true);
    }
    expect((await decide({ limits })).allowed).toBe(false);
  });

  it("empties only the subject's own and the named windows on reset", async () => {
    start();
    const all = ["", "a", "b"].flatMap((name) => figures(1, 1, name));
    await decide({ limits: all });
    await opened.store.reset(subject, ["a"]);
    expect((await decide({ limits: all.slice(0, 2) })).allowed).toBe(true);
    expect((await decide({ limits: all.slice(2) })).allowed).toBe(false);
  });

  it("decides a group in order: a later request sees what an earlier one counted", async () => {
    start();
    const other = newSubject();
    const request = (who: string, cost: number) => ({ subject: who, cost, limits: perMinute(3) });
    const decisions = await opened.store.decide([
      request(subject, 2),
      request(other, 1),
      request(subject, 2),
      request(subject, 0),
      request(subject, 1),
      request(subject, 1),
    ]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true, false, true, true, false]);
    expect(decisions.map(({ windows }) => windows[0]!.remaining)).toEqual([1, 2, 1, 1, 0, 0]);
  });

  /** Decides a run: requests that are counted together or not at all. */
  const decideTogether = (requests: readonly LimitRequest[]) =>
    opened.store.decide(requests.map((request, at) => ({ ...request, goesOn: at < requests.length - 1 })));

  it("counts all requests of a run if each has room", async () => {
    start();
    const other = newSubject();
    const run = [
      { subject, cost: 2, limits: perMinute(3) },
      { subject: other, cost: 1, limits: figures(5, 9) },
    ];
    const decisions = await decideTogether(run);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true]);
    expect(decisions.map(({ windows }) => windows.map(({ remaining }) => remaining))).toEqual([[1], [4, 8]]);
  });

  it("counts no request of a run if one is denied, and tells each whether it has room", async () => {
    start();
    const full = newSubject();
    await decide({ subject: full, limits: perMinute(1) });
    const of = (who: string, cost = 1) => ({ subject: who, cost, limits: perMinute(who === full ? 1 : 3) });
    const decisions = await decideTogether([of(subject, 2), of(full), of(newSubject())]);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, false, true]);
    expect(decisions.map(({ retryAfterMs }) => retryAfterMs)).toEqual([undefined, 61_000, undefined]);
    expect(decisions.map(({ windows }) => windows[0]!.remaining)).toEqual([3, 0, 3]);
    expect((await decide({ limits: perMinute(3), cost: 3 })).allowed, "nothing was counted").toBe(true);
  });

  it("counts a subject that occurs twice in a run twice, and denies the second if both have no room", async () => {
    start();
    const one = { subject, cost: 2, limits: perMinute(3) };
    expect((await decideTogether([one, one])).map(({ allowed }) => allowed)).toEqual([true, false]);
    const wide = { subject, cost: 2, limits: perMinute(4) };
    const both = await decideTogether([wide, wide]);
    expect(both.map(({ allowed, windows }) => [allowed, windows[0]!.remaining])).toEqual([
      [true, 2],
      [true, 0],
    ]);
  });

  it("decides what follows a run in a group by itself", async () => {
    start();
    const [full, after] = [newSubject(), newSubject()];
    const of = (who: string, figure: number, goesOn = false) => ({
      subject: who,
      cost: 1,
      limits: perMinute(figure),
      goesOn,
    });
    const group = [of(subject, 1), of(subject, 2, true), of(full, 0), of(after, 1), of(subject, 3, true), of(after, 3)];
    const decisions = await opened.store.decide(group);
    expect(decisions.map(({ allowed }) => allowed)).toEqual([true, true, false, true, true, true]);
    expect(decisions.map(({ windows }) => windows[0]!.remaining)).toEqual([0, 1, 0, 0, 1, 1]);
  });

  it("answers random runs like the model", async () => {
    await fc.assert(
      fc.asyncProperty(schedules(), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), async (steps, isOther) => {
        start();
        const other = newSubject();
        const model = new LimitModel();
        for (const step of steps) {
          nowMs = Math.max(0, nowMs + step.gapMs);
          const requests = step.calls.map((call, at) => ({ ...call, subject: isOther[at] ? other : subject }));
          expect(await decideTogether(requests)).toEqual(model.decideTogether(requests, nowMs));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("admits exactly L of 1,000 concurrent calls", async () => {
    start();
    const requests = Array.from({ length: 1000 }, () => ({ subject, cost: 1, limits: perMinute(100) }));
    const decisions = await opened.store.decide(requests);
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(100);
  });

  it.each([
    [60, 0.97],
    [300, 0.97],
    [20, 0.95],
  ])("admits at a steady load of L = %d at least %d of it", async (limit, least) => {
    start();
    let admitted = 0;
    for (let call = 0; call < limit * 4; call++) {
      nowMs = START_MS + Math.floor((call * MINUTE_MS) / limit);
      if ((await decide({ limits: perMinute(limit) })).allowed) admitted++;
    }
    expect(admitted).toBeGreaterThanOrEqual(limit * 4 * least);
  });

  it("answers random schedules like the model, with groups, retries and a clock that steps back", async () => {
    await fc.assert(
      fc.asyncProperty(schedules(), async (steps) => {
        start();
        const model = new LimitModel();
        for (const step of steps) {
          nowMs = Math.max(0, nowMs + step.gapMs);
          const requests = step.calls.map((call) => ({ subject, ...call }));
          const decisions = await opened.store.decide(requests);
          expect(decisions).toEqual(requests.map((request) => model.decide(request, nowMs)));
          const denied = decisions.findIndex(({ retryAfterMs }) => retryAfterMs !== undefined);
          if (denied >= 0 && step.retries) await retry(model, requests[denied]!);
        }
      }),
      { numRuns: 120 },
    );
  });

  /** Tries a denied request again: it is denied 1 ms before its retry time, and succeeds at that time. */
  async function retry(model: LimitModel, request: LimitRequest): Promise<void> {
    const ask = async () => {
      const decision = await decide(request);
      expect(decision).toEqual(model.decide(request, nowMs));
      return decision;
    };
    const { allowed, retryAfterMs } = await ask();
    if (allowed || retryAfterMs === undefined) return;
    nowMs += retryAfterMs - 1;
    expect((await ask()).allowed).toBe(false);
    nowMs += 1;
    expect((await ask()).allowed).toBe(true);
  }

  it("never admits more than L in any interval of real time, even if the clock steps back", async () => {
    const limits = figures(10, 40);
    const gaps = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 9_000 }) },
      { weight: 2, arbitrary: fc.integer({ min: 55_000, max: 65_000 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: DAY_MS }) },
    );
    const steps = fc.record({
      gapMs: gaps,
      backMs: fc.oneof(
        { weight: 9, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ max: 2 * DAY_MS, min: 1 }) },
      ),
      cost: fc.integer({ min: 1, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 30, maxLength: 150, size: "max" }), async (schedule) => {
        start();
        let realMs = 0;
        const admitted: { atMs: number; cost: number }[] = [];
        for (const { gapMs, backMs, cost } of schedule) {
          realMs += gapMs;
          nowMs += gapMs - backMs;
          if ((await decide({ limits, cost })).allowed) admitted.push({ atMs: realMs, cost });
        }
        expect(most(admitted, MINUTE_MS)).toBeLessThanOrEqual(10);
        expect(most(admitted, DAY_MS)).toBeLessThanOrEqual(40);
      }),
      { numRuns: 40 },
    );
  });
});

/** The maximum count in any half-open interval of a length. It suffices to try intervals that begin with a call. */
function most(admitted: readonly { readonly atMs: number; readonly cost: number }[], lengthMs: number): number {
  const sums = admitted.map(({ atMs: from }) =>
    admitted.filter(({ atMs }) => atMs >= from && atMs < from + lengthMs).reduce((sum, { cost }) => sum + cost, 0),
  );
  return Math.max(0, ...sums);
}

function schedules() {
  const gapMs = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 3 }) },
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 5_000 }) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 70_000 }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * 1_440_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 * DAY_MS }) },
    { weight: 1, arbitrary: fc.integer({ min: -90_000, max: 0 }) },
    { weight: 1, arbitrary: fc.integer({ min: -2 * DAY_MS, max: 0 }) },
  );
  const perMinute = fc.constantFrom(undefined, 0, 1, 3, 20, 60, 300);
  const perDay = fc.constantFrom(undefined, 0, 5, 50, 1_000);
  const limits = fc
    .subarray(["", "a", "b/c"], { minLength: 1 })
    .chain((names) => fc.tuple(...names.map((name) => fc.record({ name: fc.constant(name), perMinute, perDay }))));
  const cost = fc.constantFrom(1, 1, 1, 1, 1, 0, 2, 5, 30);
  // Most schedules keep their limits, so that windows become full. Costs and times vary.
  const admitted = fc.constantFrom(false, false, false, false, false, true);
  const call = (some: readonly NamedLimit[][]) => fc.record({ cost, limits: fc.constantFrom(...some), admitted });
  return fc
    .array(limits, { minLength: 1, maxLength: 3 })
    .chain((some) =>
      fc.array(
        fc.record({ gapMs, calls: fc.array(call(some), { minLength: 1, maxLength: 4 }), retries: fc.boolean() }),
        { minLength: 1, maxLength: 60, size: "max" },
      ),
    );
}
