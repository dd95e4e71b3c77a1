/** The rate limit service's handler while Redis or PostgreSQL is unreachable, and on requests of every form. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRules } from "../../src/envoy/rate-limit-rules.ts";
import { rateLimitHandlers } from "../../src/envoy/rate-limit-service.ts";
import type { RateLimitDescriptorSchema } from "../../src/gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts";
import {
  RateLimitResponse_Code as Code,
  RateLimitRequestSchema,
  RateLimitResponseSchema,
} from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { RateLimitUnit } from "../../src/gen/envoy/type/v3/ratelimit_unit_pb.ts";
import { DomainError, databaseUnavailable } from "../../src/lib/errors.ts";
import type { LimitFigures } from "../../src/limits/limit.ts";
import { newLimiter } from "../limits/new-limiter.ts";

const KEY_ID = "key_AAAAAAAAAAAAAAAA";
const rules = parseRules(
  JSON.stringify({
    domains: [
      { domain: "d", limits: [{ descriptor: [{ key: "ip" }], limits: [{ unit: "MINUTE", requests_per_unit: 4 }] }] },
    ],
  }),
);
const ip = (value: string) => ({ entries: [{ key: "ip", value }] });
const keyDescriptor = { entries: [{ key: "key", value: KEY_ID }] };

interface RequestInit {
  readonly domain?: string;
  readonly descriptors: MessageInitShape<typeof RateLimitDescriptorSchema>[];
  readonly hitsAddend?: number;
}

/** A handler whose database has one key, or does not answer. */
function newService(isDatabaseAway = false) {
  const parts = newLimiter();
  const load = (keyId: string): PromiseSettledResult<LimitFigures | undefined> =>
    isDatabaseAway
      ? { status: "rejected", reason: databaseUnavailable() }
      : { status: "fulfilled", value: keyId === KEY_ID ? { perMinute: 8, perDay: 100 } : undefined };
  const records = { findLimitsOfAll: async (keyIds: readonly string[]) => keyIds.map(load) };
  const { shouldRateLimit } = rateLimitHandlers({ records, limiter: parts.limiter, rateLimits: { rules } });
  const ask = async (init: RequestInit) =>
    create(RateLimitResponseSchema, await shouldRateLimit(create(RateLimitRequestSchema, { domain: "d", ...init })));
  return { ...parts, ask };
}

describe("the rate limit service", () => {
  it("fails with DATABASE_UNAVAILABLE for a key whose limits it can't read, and counts nothing of that request", async () => {
    const { ask, limiter } = newService(true);
    const asking = ask({ descriptors: [ip("a"), keyDescriptor] });
    await expect(asking).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect((await ask({ descriptors: [ip("a")] })).statuses[0]?.limitRemaining).toBe(3);
    limiter.close();
  });

  it("answers by the share of this process while Redis is unreachable, and says so in the dynamic metadata", async () => {
    const { ask, store, limiter } = newService();
    expect((await ask({ descriptors: [keyDescriptor] })).dynamicMetadata).toBeUndefined();
    store.mood = "fails";
    const first = await ask({ descriptors: [ip("a"), keyDescriptor] });
    expect(first).toMatchObject({ overallCode: Code.OK, dynamicMetadata: { degraded: true } });
    const second = await ask({ descriptors: [ip("a"), keyDescriptor] });
    expect(second.statuses.map(({ code, limitRemaining }) => [code, limitRemaining])).toEqual([
      [Code.OVER_LIMIT, 0],
      [Code.OK, 1],
    ]);
    limiter.close();
  });

  it("answers each request of any form, or names what is wrong with it", async () => {
    const { ask, limiter } = newService();
    const text = fc.oneof(
      fc.constantFrom("", "ip", "key", "name", KEY_ID, "key_x", "\0", "{d}"),
      fc.string({ unit: "binary" }),
    );
    const mostly = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>) =>
      fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: odd });
    const key = mostly(fc.constantFrom("ip", "key", "name"), text);
    const entry = fc.record({ key, value: fc.oneof(text, fc.constant("x".repeat(5_000))) });
    const uint32 = fc.constantFrom(0, 1, 3, 2 ** 31, 2 ** 32 - 1);
    const anyUnit = fc.constantFrom(...Object.values(RateLimitUnit), 99 as RateLimitUnit);
    const limit = fc.record({
      requestsPerUnit: uint32,
      unit: mostly(fc.constantFrom<RateLimitUnit>(RateLimitUnit.MINUTE, RateLimitUnit.DAY), anyUnit),
    });
    const descriptor = fc.record(
      {
        entries: mostly(fc.array(entry, { minLength: 1, maxLength: 3 }), fc.array(entry, { maxLength: 0 })),
        limit,
        hitsAddend: fc.constantFrom(0n, 1n, 5n, 2n ** 53n, 2n ** 64n - 1n),
        isNegativeHits: mostly(fc.constant(false), fc.constant(true)),
      },
      { requiredKeys: ["entries"] },
    );
    const request = fc.record({
      domain: mostly(fc.constant("d"), text),
      descriptors: fc.array(descriptor, { minLength: 1, maxLength: 4 }),
      hitsAddend: uint32,
    });
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(request, async (init) => {
        const answer = await ask(init).catch((error: unknown) => error);
        if (answer instanceof Error) {
          expect(answer).toBeInstanceOf(DomainError);
          expect((answer as DomainError).reason).toBe("INVALID_FIELD");
          return;
        }
        answered++;
        const response = answer as Awaited<ReturnType<typeof ask>>;
        expect(toBinary(RateLimitResponseSchema, response).length).toBeGreaterThan(0);
        expect(response.statuses).toHaveLength(init.descriptors.length);
        const isOver = response.statuses.some(({ code }) => code === Code.OVER_LIMIT);
        expect(response.overallCode).toBe(isOver ? Code.OVER_LIMIT : Code.OK);
      }),
      { numRuns: 500 },
    );
    expect(answered).toBeGreaterThan(100);
    limiter.close();
  });
});
