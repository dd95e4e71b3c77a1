import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, durationFromMs, TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { KeySchema } from "../../src/gen/latchkey/v1/key_pb.ts";
import {
  type Freshness_Source,
  FreshnessSchema,
  type Verdict,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { RateLimitStatusSchema } from "../../src/gen/latchkey/v1/limits_pb.ts";
import { encodeVerdict } from "../../src/rpc/verdict-encoding.ts";

type Response = MessageInitShape<typeof VerifyKeyResponseSchema>;

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const duration = fc.integer({ min: -1e9, max: 1e9 }).map(durationFromMs);
const timestamp = fc.integer({ min: -1e12, max: 1e13 }).map(timestampFromMs);
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const text = fc.string({ unit: "grapheme", maxLength: 200 });

const responses: fc.Arbitrary<Response> = fc.record({
  valid: fc.boolean(),
  verdict: fc.integer({ min: 0, max: 12 }).map((number) => number as Verdict),
  key: optional(
    fc
      .record({
        id: text,
        name: text,
        scopes: fc.array(text),
        metadata: fc.dictionary(text, text),
        createTime: timestamp,
      })
      .map((key) => create(KeySchema, key)),
  ),
  rateLimits: fc.array(
    fc.record({
      name: text,
      window: optional(duration),
      limit: int32,
      remaining: int32,
      resetAfter: optional(duration),
    }),
  ),
  retryAfter: optional(duration),
  freshness: optional(
    fc.record({
      source: fc.integer({ min: 0, max: 2 }).map((number) => number as Freshness_Source),
      asOfTime: optional(timestamp),
      maxStaleness: optional(duration),
      position: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    }),
  ),
  degraded: fc.boolean(),
  secretExpireTime: optional(timestamp),
});

const expected = (response: Response) => toBinary(VerifyKeyResponseSchema, create(VerifyKeyResponseSchema, response));

test("the bytes are those that protobuf-es writes", () => {
  fc.assert(
    fc.property(responses, (response) => {
      expect(Buffer.from(encodeVerdict(response).bytes).equals(expected(response))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test.each<[DescMessage, number]>([
  [VerifyKeyResponseSchema, 8],
  [FreshnessSchema, 4],
  [RateLimitStatusSchema, 5],
  [DurationSchema, 2],
  [TimestampSchema, 2],
])("%s has no field that the encoding does not know", (message, fields) => {
  expect(message.fields.map(({ number }) => number)).toEqual(Array.from({ length: fields }, (_, index) => index + 1));
});

test("what one verdict leaves half written is in no other", () => {
  const good: Response = { valid: true, freshness: { position: 5n } };
  expect(() => encodeVerdict({ valid: true, rateLimits: [{ limit: 1.5 }] })).toThrow();
  expect(Buffer.from(encodeVerdict(good).bytes).equals(expected(good))).toBe(true);
});

test("the bytes of a verdict stay when the next is written", () => {
  const { bytes } = encodeVerdict({ valid: true, verdict: 1 });
  encodeVerdict({ degraded: true, verdict: 11 });
  expect(Buffer.from(bytes).equals(expected({ valid: true, verdict: 1 }))).toBe(true);
});
