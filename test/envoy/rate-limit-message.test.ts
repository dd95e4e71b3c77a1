import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
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

const fromReference = (bytes: Uint8Array) => fromBinary(RateLimitRequestSchema, bytes);

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

  it("that protobuf-es refuses is refused, whatever its bytes, and a cut one always is", () => {
    const outcome = (run: () => unknown) => {
      try {
        run();
        return "read";
      } catch (error) {
        return error instanceof Error ? "refused" : "another fault";
      }
    };
    // Bytes of ASCII alone: texts are read more leniently on purpose.
    const spoiled = fc.tuple(request, fc.nat(), fc.nat({ max: 127 }), fc.boolean()).map(([each, at, byte, isCut]) => {
      const bytes = bytesOf(each).map((one) => one & 127);
      return isCut || bytes.length === 0
        ? bytes.subarray(0, at % (bytes.length + 1))
        : bytes.with(at % bytes.length, byte);
    });
    fc.assert(
      fc.property(spoiled, (bytes) => {
        const [ours, theirs] = [readRateLimitRequest, fromReference].map((read) => outcome(() => read(bytes)));
        // protobuf-es reads a message that ends within a skipped field.
        if (theirs === "refused") expect(ours, Buffer.from(bytes).toString("hex")).toBe("refused");
        expect(ours).not.toBe("another fault");
      }),
      { numRuns: 2_000, examples: [[Uint8Array.of()]] },
    );
    expect(outcome(() => readRateLimitRequest(Uint8Array.of(0x19, 0x00)))).toBe("refused");
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
