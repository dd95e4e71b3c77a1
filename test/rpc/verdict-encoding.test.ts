import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, durationFromMs, TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, it } from "vitest";
import { Code } from "../../src/gen/google/rpc/code_pb.ts";
import {
  BatchVerifyKeysResponseSchema,
  BatchVerifyKeysResultSchema,
  Freshness_Source,
  FreshnessSchema,
  Verdict,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { RateLimitStatusSchema } from "../../src/gen/latchkey/v1/limits_pb.ts";
import type { Key } from "../../src/keys/key.ts";
import type { KeyRecord } from "../../src/keys/key-records.ts";
import { Tiers } from "../../src/keys/tiers.ts";
import type { KeyVerdict } from "../../src/keys/verdict.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { verdictKey } from "../../src/rpc/handlers/key-messages.ts";
import { VerdictEncoder } from "../../src/rpc/handlers/verdict-encoding.ts";

type Response = MessageInitShape<typeof VerifyKeyResponseSchema>;

const NOW_MS = 1_790_000_000_000;
const tiers = new Tiers([{ name: "basic", perMinute: 20, perDay: 1000 }]);
const ELAPSED_MS = 1e9 + 0.25;
const elapsed = { elapsedMs: () => ELAPSED_MS };
/** An encoder that knows the database's time. */
const encoderAt = (nowMs: () => number) =>
  new VerdictEncoder({ tiers, databaseClock: { nowMs, knownMs: nowMs }, clock: elapsed });
const encoder = encoderAt(() => NOW_MS);

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const int32 = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const text = fc.string({ unit: "grapheme", maxLength: 200 });
/** Times with the fractions of a monotonic clock, including times of processes whose clocks are far off. */
const time = fc.double({ min: -1e12, max: 1e13, noNaN: true });
const span = fc.double({ min: 0, max: 1e9, noNaN: true });

const keys: fc.Arbitrary<Key> = fc.record({
  id: text,
  kind: fc.constant("api" as const),
  name: text,
  description: text,
  prefix: text,
  environment: text,
  ownerId: optional(text),
  issuerId: text,
  tier: fc.constant("basic"),
  scopes: fc.array(text),
  metadata: fc.dictionary(text, text),
  allowedIps: fc.array(text),
  allowedMethods: fc.array(text),
  certificateNames: fc.constant([]),
  limits: fc.record({ perMinute: optional(int32), perDay: optional(int32) }),
  state: fc.constantFrom("active" as const, "disabled" as const, "revoked" as const),
  disabledBy: optional(text),
  serviceControlled: fc.boolean(),
  createdAtMs: time,
  expiresAtMs: optional(time),
  revokedAtMs: optional(time),
  lastUsedAtMs: optional(time),
  version: int32,
});

const records: fc.Arbitrary<KeyRecord> = fc.record({
  key: keys,
  owner: fc.constant(undefined),
  secretExpiresAtMs: optional(time),
  tier: fc.constant("basic"),
  ownLimits: fc.constant([]),
  isAllowedIp: fc.constant(() => true),
  shown: fc.constant(undefined),
});

const VERDICTS = {
  valid: Verdict.VALID,
  invalid: Verdict.INVALID,
  disabled: Verdict.DISABLED,
  revoked: Verdict.REVOKED,
  expired: Verdict.EXPIRED,
  owner_disabled: Verdict.OWNER_DISABLED,
  scope_missing: Verdict.SCOPE_MISSING,
  tier_not_allowed: Verdict.TIER_NOT_ALLOWED,
  ip_not_allowed: Verdict.IP_NOT_ALLOWED,
  method_not_allowed: Verdict.METHOD_NOT_ALLOWED,
  rate_limited: Verdict.RATE_LIMITED,
} as const;

const verdicts: fc.Arbitrary<KeyVerdict> = fc.record({
  verdict: fc.constantFrom(...(Object.keys(VERDICTS) as (keyof typeof VERDICTS)[])),
  record: optional(records),
  windows: fc.array(fc.record({ name: text, lengthMs: span, limit: int32, remaining: int32, resetAfterMs: span })),
  retryAfterMs: optional(span),
  freshness: optional(
    fc.record({
      source: fc.constantFrom("cache" as const, "database" as const),
      asOfMs: time,
      maxStalenessMs: span,
      position: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      epoch: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      trueAtMs: fc.double({ min: 0, max: ELAPSED_MS, noNaN: true }),
    }),
  ),
  degraded: fc.boolean(),
});

const timestamp = (ms: number) => timestampFromMs(Math.floor(ms));
const duration = (ms: number) => durationFromMs(Math.ceil(ms));

/** A verdict as a message of protobuf-es, as the contract defines it. */
function response({ verdict, record, windows, retryAfterMs, freshness, degraded }: KeyVerdict): Response {
  return {
    valid: verdict === "valid",
    verdict: VERDICTS[verdict],
    ...(record && { key: verdictKey(record, tiers, NOW_MS) }),
    ...(record?.secretExpiresAtMs !== undefined && { secretExpireTime: timestamp(record.secretExpiresAtMs) }),
    rateLimits: windows.map(({ name, lengthMs, limit, remaining, resetAfterMs }) => ({
      name,
      window: duration(lengthMs),
      limit,
      remaining,
      resetAfter: duration(resetAfterMs),
    })),
    ...(retryAfterMs !== undefined && { retryAfter: duration(retryAfterMs) }),
    ...(freshness && {
      freshness: {
        source: freshness.source === "cache" ? Freshness_Source.CACHE : Freshness_Source.DATABASE,
        asOfTime: timestamp(freshness.asOfMs),
        maxStaleness: duration(freshness.maxStalenessMs),
        position: freshness.position,
        serveTime: timestamp(NOW_MS),
        epoch: freshness.epoch,
        age: duration(ELAPSED_MS - freshness.trueAtMs),
      },
      nearRules: 1,
    }),
    degraded,
  };
}

const expected = (verdict: KeyVerdict) =>
  toBinary(VerifyKeyResponseSchema, create(VerifyKeyResponseSchema, response(verdict)));
const SHORT: KeyVerdict = {
  verdict: "rate_limited",
  record: undefined,
  windows: [],
  retryAfterMs: 1,
  freshness: undefined,
  degraded: true,
};

it("the bytes of a verdict equal those of protobuf-es", () => {
  fc.assert(
    fc.property(verdicts, (verdict) => {
      expect(Buffer.from(encoder.encode(verdict).bytes).equals(expected(verdict))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

it("the bytes of a batch equal those of protobuf-es, errors included", () => {
  const error = new DomainError("DATABASE_UNAVAILABLE", "the database is unreachable", { retryAfterMs: 1000 });
  fc.assert(
    fc.property(fc.array(optional(verdicts), { maxLength: 8 }), (batch) => {
      const { bytes } = encoder.encodeBatch(batch.map((verdict) => (verdict === undefined ? { error } : { verdict })));
      const read = fromBinary(BatchVerifyKeysResponseSchema, bytes);
      for (const [at, verdict] of batch.entries()) {
        const { outcome } = read.results[at]!;
        if (verdict === undefined) expect(outcome).toMatchObject({ case: "error", value: { code: Code.UNAVAILABLE } });
        else
          expect(outcome).toEqual({ case: "response", value: fromBinary(VerifyKeyResponseSchema, expected(verdict)) });
      }
      expect(Buffer.from(bytes).equals(toBinary(BatchVerifyKeysResponseSchema, read))).toBe(true);
    }),
    { numRuns: 100 },
  );
});

it("the freshness of a verdict is that of its own record and moment, also right after another one", () => {
  const base = {
    source: "cache",
    asOfMs: NOW_MS,
    maxStalenessMs: 5000,
    position: 7n,
    epoch: 9n,
    trueAtMs: 1e9,
  } as const;
  const others: Partial<NonNullable<KeyVerdict["freshness"]>>[] = [
    { source: "database" },
    { asOfMs: NOW_MS - 1 },
    { maxStalenessMs: 6000 },
    { position: 8n },
    { epoch: 10n },
    { trueAtMs: 1e9 - 1 },
  ];
  for (const other of others) {
    for (const freshness of [base, { ...base, ...other }]) {
      const verdict: KeyVerdict = { ...SHORT, freshness };
      expect(Buffer.from(encoder.encode(verdict).bytes).equals(expected(verdict))).toBe(true);
    }
  }
});

it("an answer has no serve_time while the process does not know the database's time", () => {
  const unsure = { nowMs: () => NOW_MS, knownMs: () => undefined };
  const doubting = new VerdictEncoder({ tiers, databaseClock: unsure, clock: elapsed });
  const freshness = { source: "cache", asOfMs: 1, maxStalenessMs: 1, position: 1n, epoch: 1n, trueAtMs: 1 } as const;
  const read = fromBinary(VerifyKeyResponseSchema, doubting.encode({ ...SHORT, freshness }).bytes);
  expect(read.freshness).toMatchObject({ epoch: 1n });
  expect(read.freshness?.serveTime).toBeUndefined();
});

it("an answer that rests on no record has no near_rules", () => {
  expect(fromBinary(VerifyKeyResponseSchema, encoder.encode(SHORT).bytes).nearRules).toBe(0);
});

it("a record's key is encoded again after time has changed its state", () => {
  let nowMs = NOW_MS;
  const moving = encoderAt(() => nowMs);
  const [record] = fc.sample(records, 1);
  const key: Key = { ...record!.key, state: "active", expiresAtMs: NOW_MS + 1000 };
  const verdict: KeyVerdict = { ...SHORT, record: { ...record!, key } };
  const stateOf = () => fromBinary(VerifyKeyResponseSchema, moving.encode(verdict).bytes).key?.state;
  const before = stateOf();
  nowMs += 1000;
  expect([before, stateOf()]).toEqual([1, 4]);
});

it.each<[DescMessage, number]>([
  [VerifyKeyResponseSchema, 9],
  [BatchVerifyKeysResponseSchema, 1],
  [BatchVerifyKeysResultSchema, 2],
  [FreshnessSchema, 7],
  [RateLimitStatusSchema, 5],
  [DurationSchema, 2],
  [TimestampSchema, 2],
])("%s has only the fields that the encoder writes", (message, fields) => {
  expect(message.fields.map(({ number }) => number)).toEqual(Array.from({ length: fields }, (_, index) => index + 1));
});

it("a verdict that fails half written leaves nothing in the next one", () => {
  const broken = { name: "", lengthMs: 60_000, limit: 1.5, remaining: 0, resetAfterMs: 0 };
  expect(() => encoder.encode({ ...SHORT, windows: [broken] })).toThrow();
  expect(Buffer.from(encoder.encode(SHORT).bytes).equals(expected(SHORT))).toBe(true);
});

it("the bytes of a verdict stay unchanged when the next one is written", () => {
  const { bytes } = encoder.encode(SHORT);
  encoder.encode({ ...SHORT, verdict: "valid", degraded: false });
  expect(Buffer.from(bytes).equals(expected(SHORT))).toBe(true);
});
