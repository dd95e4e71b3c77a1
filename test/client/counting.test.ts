/** The counting of keys that are judged near, with a moved clock and a service that the test writes. */
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { Counting, type CountingMode } from "../../client/src/counting/counting.ts";
import type { NearJudgement } from "../../client/src/near/near-judgement.ts";
import { type VerifiedKey, type VerifyRequest, verdictOf } from "../../client/src/verdict.ts";
import {
  type BatchCheckRateLimitsResponse,
  BatchCheckRateLimitsResponseSchema,
  type CheckRateLimitResponse,
  CheckRateLimitResponseSchema,
  Verdict,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { MovedTime } from "./moved-time.ts";

const KEY = { id: "key_1" } as VerifiedKey;
const REQUEST: VerifyRequest = { apiKey: "a" };

function judgementOf(perMinute: number | undefined, perDay?: number): NearJudgement {
  const ownLimits = perMinute === undefined && perDay === undefined ? [] : [{ name: "", perMinute, perDay }];
  return {
    verdict: "VALID",
    key: KEY,
    ageMs: 0,
    epoch: 0n,
    position: 0,
    ownLimits,
    isCounted: true,
    isRecheckDue: false,
  };
}

type Window = readonly [name: string, windowMs: number, limit: number, remaining: number];

function statuses(windows: readonly Window[]) {
  return windows.map(([name, windowMs, limit, remaining]) => ({
    ...{ name, limit, remaining },
    window: durationFromMs(windowMs),
    resetAfter: durationFromMs(30_000),
  }));
}

const minute = (limit: number, remaining: number, name = ""): Window => [name, 60_000, limit, remaining];

interface Batch {
  readonly requests: readonly { cost?: number; admitted?: boolean; limits?: unknown; subject?: unknown }[];
  readonly sentAtMs: number;
  answer(...responses: (readonly Window[])[]): Promise<void>;
  fail(): Promise<void>;
}

function makeWorld(mode: CountingMode, isStaleAllowed = false) {
  const time = new MovedTime();
  const batches: Batch[] = [];
  const counting = new Counting({
    ...{ mode, isStaleAllowed, clock: time.clock, timers: time },
    send: (requests) =>
      new Promise<Pick<BatchCheckRateLimitsResponse, "results">>((resolve, reject) => {
        const outcome = (windows: readonly Window[]) => ({
          outcome: {
            case: "response" as const,
            value: create(CheckRateLimitResponseSchema, {
              allowed: true,
              rateLimits: statuses(windows),
            }) as CheckRateLimitResponse,
          },
        });
        batches.push({
          requests: requests as Batch["requests"],
          sentAtMs: time.nowMs,
          answer: async (...responses) => {
            resolve(create(BatchCheckRateLimitsResponseSchema, { results: responses.map(outcome) }));
            await time.pass(0);
          },
          fail: async () => {
            reject(new Error("unreachable"));
            await time.pass(0);
          },
        });
      }),
  });
  const answerOf = (windows: readonly Window[], more: object = {}): VerifyKeyResponse =>
    create(VerifyKeyResponseSchema, {
      ...{ valid: true, verdict: Verdict.VALID, rateLimits: statuses(windows) },
      key: { id: KEY.id, effectiveLimits: { perMinute: windows[0]?.[2] ?? 0 } },
      ...more,
    });
  /** A call that is sent and answered now. */
  const call = (
    windows: readonly Window[],
    { request = REQUEST, ...more }: { request?: VerifyRequest } & Record<string, unknown> = {},
  ) => {
    const asked = counting.began(KEY.id, request.cost ?? 1);
    const sentAtMs = time.clock.elapsedMs();
    return () => {
      const response = answerOf(windows, more);
      counting.ended(asked);
      counting.answered(asked, request, response, { verdict: verdictOf(response, 0), sentAtMs });
    };
  };
  const decide = (judgement: NearJudgement, cost = 1, limits: VerifyRequest["limits"] = []) =>
    counting.decide(judgement, { ...REQUEST, cost, limits });
  return { time, counting, batches, call, decide };
}

const DENIED = { valid: false, verdict: Verdict.RATE_LIMITED, retryAfter: durationFromMs(3000) };

describe("exact", () => {
  it("asks the service about each call", () => {
    const { call, decide } = makeWorld("exact");
    call([minute(100, 99)])();
    expect(decide(judgementOf(100))).toBeUndefined();
  });

  it("remembers a denial from the moment when its call was sent, for the same limits and cost", async () => {
    const { call, decide, time } = makeWorld("exact");
    const answer = call([minute(10, 0)], DENIED);
    await time.pass(400);
    answer();
    expect(decide(judgementOf(10))).toMatchObject({
      allowed: false,
      retryAfterMs: 2600,
      rateLimits: [{ remaining: 0 }],
    });
    expect(decide(judgementOf(11))).toBeUndefined();
    expect(decide(judgementOf(10), 2)).toBeUndefined();
    expect(decide(judgementOf(10), 0), "a look counts nothing, and is a call").toBeUndefined();
    expect(decide(judgementOf(10), 1, [{ name: "a", perMinute: 1 }])).toBeUndefined();
    await time.pass(2599);
    expect(decide(judgementOf(10))).toMatchObject({ retryAfterMs: 1 });
    await time.pass(1);
    expect(decide(judgementOf(10))).toBeUndefined();
  });

  it("believes a denial for at most 5 s, and none from before a suspension", async () => {
    const { call, decide, time } = makeWorld("exact");
    call([minute(10, 0)], { ...DENIED, retryAfter: durationFromMs(40_000) })();
    await time.pass(4999);
    expect(decide(judgementOf(10))).toBeDefined();
    await time.pass(1);
    expect(decide(judgementOf(10))).toBeUndefined();
    call([minute(10, 0)], { ...DENIED, retryAfter: durationFromMs(40_000) })();
    time.suspend(2000);
    expect(decide(judgementOf(10))).toBeUndefined();
  });

  it("remembers no degraded denial, and none that a change of the key overtook", () => {
    const { call, decide, counting } = makeWorld("exact");
    call([minute(10, 0)], { ...DENIED, degraded: true })();
    expect(decide(judgementOf(10))).toBeUndefined();
    const late = call([minute(10, 0)], DENIED);
    counting.forget(KEY.id);
    late();
    expect(decide(judgementOf(10))).toBeUndefined();
  });

  it.each(["forget", "forgetAll"] as const)("forgets denials at %s", (forget) => {
    const { call, decide, counting } = makeWorld("exact");
    call([minute(10, 0)], DENIED)();
    counting[forget](KEY.id);
    expect(decide(judgementOf(10))).toBeUndefined();
  });
});

describe("after", () => {
  it("asks the service about the first call, and admits by what remains", () => {
    const { call, decide } = makeWorld("after");
    expect(decide(judgementOf(100))).toBeUndefined();
    call([minute(100, 60)])();
    expect(decide(judgementOf(100), 5)).toMatchObject({
      allowed: true,
      degraded: false,
      rateLimits: [{ remaining: 55 }],
    });
    expect(decide(judgementOf(100), 5)).toMatchObject({ rateLimits: [{ limit: 100, remaining: 50 }] });
  });

  it("leaves the last tenth of each window to exact calls", () => {
    const { call, decide } = makeWorld("after");
    call([minute(100, 12)])();
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 11 }] });
    expect(decide(judgementOf(100), 2)).toBeUndefined();
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 10 }] });
    expect(decide(judgementOf(100))).toBeUndefined();
  });

  it("asks where a limit is not known, has another figure, or was told a minute ago", async () => {
    const { call, decide, time } = makeWorld("after");
    call([minute(100, 90)])();
    expect(decide(judgementOf(200))).toBeUndefined();
    expect(decide(judgementOf(100, 1000))).toBeUndefined();
    expect(decide(judgementOf(100), 1, [{ name: "a", perMinute: 5 }])).toBeUndefined();
    expect(decide(judgementOf(100), 0), "cost 0 is a call").toBeUndefined();
    await time.pass(59_999);
    expect(decide(judgementOf(100))).toBeDefined();
    await time.pass(1);
    expect(decide(judgementOf(100))).toBeUndefined();
  });

  it("reports within 20 ms, all costs of a key at once, one report of a key at a time", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    call([minute(100, 90)])();
    for (let at = 0; at < 3; at++) decide(judgementOf(100), 2);
    await time.pass(20);
    expect(batches.map(({ requests }) => requests)).toEqual([
      [{ subject: { case: "keyId", value: KEY.id }, cost: 6, limits: [], admitted: true }],
    ]);
    expect(batches[0]!.sentAtMs).toBeLessThanOrEqual(20);
    decide(judgementOf(100));
    decide(judgementOf(100));
    await time.pass(1000);
    expect(batches).toHaveLength(1);
    await batches[0]!.answer([minute(100, 70)]);
    await time.pass(20);
    expect(batches[1]!.requests).toMatchObject([{ cost: 2 }]);
  });

  it("admits by the newest answer, less what it does not include", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    call([minute(100, 90)])();
    decide(judgementOf(100), 10);
    await time.pass(20);
    decide(judgementOf(100), 5);
    // Others have used 20.
    await batches[0]!.answer([minute(100, 60)]);
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 54 }] });
  });

  it("counts a report that is under way as used, whatever an answer says meanwhile", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    call([minute(100, 90)])();
    decide(judgementOf(100), 10);
    await time.pass(20);
    // The service judged this call before the report came: its answer has 89 left.
    call([minute(100, 89)])();
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 78 }] });
    await batches[0]!.answer([minute(100, 79)]);
    // Whether the report was counted before the exact call or after it is not known.
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 76 }] });
  });

  it("is not misled by the answer to an older call that comes late", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    call([minute(100, 90)])();
    const late = call([minute(100, 89)]);
    decide(judgementOf(100), 10);
    await time.pass(20);
    await batches[0]!.answer([minute(100, 79)]);
    late();
    expect(decide(judgementOf(100))!.rateLimits[0]!.remaining).toBeLessThanOrEqual(78);
  });

  it("repeats no lost report, and counts its cost as used until the window has passed", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    call([minute(100, 90)])();
    decide(judgementOf(100), 10);
    await time.pass(20);
    await batches[0]!.fail();
    await time.pass(100);
    expect(batches).toHaveLength(1);
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 79 }] });
    call([minute(100, 89)])();
    expect(decide(judgementOf(100))!.rateLimits[0]!.remaining).toBeLessThanOrEqual(78);
    await time.pass(60_000);
    call([minute(100, 99)])();
    expect(decide(judgementOf(100))!.rateLimits[0]!.remaining).toBeGreaterThanOrEqual(95);
  });

  it("reports other limits of a call, each set by itself", async () => {
    const { call, decide, time, batches } = makeWorld("after");
    const limits = [{ name: "a", perMinute: 50 }];
    call([minute(100, 90), minute(50, 40, "a")], { request: { ...REQUEST, limits } })();
    expect(decide(judgementOf(100), 1, limits)).toMatchObject({ rateLimits: [{ remaining: 89 }, { remaining: 39 }] });
    decide(judgementOf(100), 3);
    await time.pass(20);
    expect(batches[0]!.requests).toMatchObject([
      { cost: 1, limits },
      { cost: 3, limits: [] },
    ]);
    await batches[0]!.answer([minute(100, 89), minute(50, 39, "a")], [minute(100, 86)]);
    expect(decide(judgementOf(100))!.rateLimits[0]!.remaining).toBeLessThanOrEqual(85);
  });

  it("asks again after a change of the key, and still counts what was not told", async () => {
    const { call, decide, counting, time } = makeWorld("after");
    call([minute(100, 90)])();
    decide(judgementOf(100), 20);
    counting.forget(KEY.id);
    expect(decide(judgementOf(100))).toBeUndefined();
    call([minute(100, 99)])();
    expect(decide(judgementOf(100))).toMatchObject({ rateLimits: [{ remaining: 78 }] });
    await time.pass(0);
  });

  it("asks where one process of the service judged alone", () => {
    const { call, decide } = makeWorld("after");
    call([minute(100, 90)])();
    call([minute(100, 90)], { degraded: true })();
    expect(decide(judgementOf(100))).toBeUndefined();
  });

  it("reserves the costs of calls that are under way", () => {
    const { call, decide } = makeWorld("after");
    call([minute(100, 90)])();
    const answers = Array.from({ length: 70 }, () => call([minute(100, 20)]));
    expect(decide(judgementOf(100), 10)).toMatchObject({ rateLimits: [{ remaining: 10 }] });
    expect(decide(judgementOf(100))).toBeUndefined();
    for (const answer of answers) answer();
  });

  it("lets a call wait until what was admitted is told", async () => {
    const { call, decide, counting, batches, time } = makeWorld("after");
    expect(counting.settled(KEY.id)).toBeUndefined();
    call([minute(100, 90)])();
    decide(judgementOf(100), 4);
    await time.pass(20);
    decide(judgementOf(100), 5);
    let isSettled = false;
    const settled = counting.settled(KEY.id)!.then(() => {
      isSettled = true;
    });
    await batches[0]!.answer([minute(100, 86)]);
    expect([isSettled, batches[1]!.requests]).toMatchObject([false, [{ cost: 5 }]]);
    await batches[1]!.answer([minute(100, 81)]);
    await settled;
    expect(counting.settled(KEY.id)).toBeUndefined();
    expect(counting.settled("key_other")).toBeUndefined();
  });

  it("sends what waits at the end", async () => {
    const { call, decide, counting, batches } = makeWorld("after");
    call([minute(100, 90)])();
    decide(judgementOf(100), 4);
    const drained = counting.drain();
    expect(batches[0]!.requests).toMatchObject([{ cost: 4 }]);
    await batches[0]!.answer([minute(100, 86)]);
    await drained;
  });
});

describe("while the service is unreachable", () => {
  it("the last `remaining` decides, degraded, to its end, and nothing is reported", async () => {
    const { call, counting, time, batches } = makeWorld("exact", true);
    call([minute(10, 3)])();
    const alone = (cost: number) => counting.decideAlone(judgementOf(10), { ...REQUEST, cost });
    await time.pass(10_000);
    expect(alone(2)).toMatchObject({ allowed: true, degraded: true, rateLimits: [{ remaining: 1 }] });
    expect(alone(2)).toMatchObject({ allowed: false, degraded: true, retryAfterMs: 20_000 });
    expect(alone(1)).toMatchObject({ allowed: true, rateLimits: [{ remaining: 0 }] });
    expect(alone(0)).toMatchObject({ allowed: true });
    await time.pass(1000);
    expect(batches).toEqual([]);
  });

  it("there is no decision about limits of which nothing is known", () => {
    const { call, counting } = makeWorld("exact", true);
    expect(counting.decideAlone(judgementOf(10), REQUEST)).toBeUndefined();
    call([minute(10, 3)])();
    expect(counting.decideAlone(judgementOf(20), REQUEST)).toBeUndefined();
  });
});
