import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { subjectName } from "../../src/envoy/rate-limit-descriptors.ts";
import { readRateLimitRequest, textOf } from "../../src/envoy/rate-limit-message.ts";
import { RateLimitRequestSchema } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";

const text = fc.string({ unit: "binary", maxLength: 6 }).map((each) => each.toWellFormed());
const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const descriptor = fc.record({
  entries: fc.array(fc.record({ key: text, value: text }), { maxLength: 3 }),
  limit: optional(fc.record({ requestsPerUnit: uint32, unit: fc.integer({ min: -3, max: 9 }) })),
  hitsAddend: optional(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  isNegativeHits: fc.boolean(),
});
const request = fc.record({ domain: text, descriptors: fc.array(descriptor, { maxLength: 3 }), hitsAddend: uint32 });
const bytesOf = (each: typeof request extends fc.Arbitrary<infer R> ? R : never) =>
  toBinary(RateLimitRequestSchema, create(RateLimitRequestSchema, each as never));

describe("a rate limit request", () => {
  it("is read as protobuf-es reads it", () => {
    fc.assert(
      fc.property(request, (each) => {
        const read = readRateLimitRequest(bytesOf(each));
        expect(read).toEqual({
          ...each,
          descriptors: each.descriptors.map((one) =>
            Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)),
          ),
        });
      }),
      { numRuns: 300 },
    );
  });

  it("of any bytes is read or refused, and one that is cut within a field is refused", () => {
    const outcome = (bytes: Uint8Array) => {
      try {
        readRateLimitRequest(bytes);
        return "read";
      } catch (error) {
        return error instanceof Error ? "refused" : "another fault";
      }
    };
    const spoiled = fc.tuple(request, fc.nat(), fc.nat({ max: 255 })).map(([each, at, byte]) => {
      const bytes = bytesOf(each);
      return bytes.length === 0 ? bytes : bytes.with(at % bytes.length, byte);
    });
    fc.assert(
      fc.property(fc.oneof(spoiled, fc.uint8Array()), (bytes) => {
        expect(["read", "refused"]).toContain(outcome(bytes));
      }),
      { numRuns: 2_000 },
    );
    for (const cut of [
      [0x0a],
      [0x0a, 2, 0x61],
      [0x12, 2, 0x0a, 1],
      [0x12, 1, 0x0a, 0],
      [0x18, 0x80],
      [0x19, 0],
      [0x1b],
    ]) {
      expect(outcome(Uint8Array.from(cut)), cut.join()).toBe("refused");
    }
    expect(outcome(Uint8Array.of()), "a message without fields").toBe("read");
  });

  it("keeps one more than the maximum of descriptors and entries, however many there are", () => {
    const many = (field: number) => Buffer.alloc(200_000, Uint8Array.of(field * 8 + 2, 0));
    const inOne = Buffer.concat([Uint8Array.of(0x12, 0xc0, 0x9a, 0x0c), many(1)]);
    expect(readRateLimitRequest(many(2)).descriptors).toHaveLength(33);
    expect(readRateLimitRequest(inOne).descriptors.map(({ entries }) => entries.length)).toEqual([17]);
  });

  it("may have values that are no UTF-8, and each is a subject of its own", () => {
    const nameOf = (...bytes: number[]) => subjectName("d", [{ key: "k", value: textOf(Uint8Array.from(bytes)) }]);
    expect(nameOf(0x61, 0xff)).toBe("d/k=a%FF");
    expect(nameOf(0xc3, 0xa9), "é").toBe("d/k=%C3%A9");
    expect(nameOf(0xc3, 0xa9, 0xff)).toBe("d/k=%C3%A9%FF");
    const names = [[0xff], [0xfe], [0xff, 0xff], [0xef, 0xbf, 0xbd], [0x25, 0x46, 0x46], [0xc3], [0x2f]].map((bytes) =>
      nameOf(...bytes),
    );
    expect(new Set(names).size).toBe(names.length);
    expect(nameOf(...Array(300).fill(0xff))).toMatch(/^#[\w-]{43}$/);
  });
});
