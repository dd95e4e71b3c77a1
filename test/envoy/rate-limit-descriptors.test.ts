import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readDescriptors, subjectName } from "../../src/envoy/rate-limit-descriptors.ts";
import { RateLimitRequestSchema } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { RateLimitUnit } from "../../src/gen/envoy/type/v3/ratelimit_unit_pb.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { textViolation } from "../../src/lib/text.ts";
import { errorThrownBy } from "../support/errors.ts";

type Init = MessageInitShape<typeof RateLimitRequestSchema>;
const entries = [{ key: "name", value: "a" }];
const read = (init: Init) =>
  readDescriptors(create(RateLimitRequestSchema, { domain: "d", descriptors: [{ entries }], ...init }));

describe("a descriptor", () => {
  it.each<[string, Init, number]>([
    ["1 if nothing says more", {}, 1],
    ["the request's hits", { hitsAddend: 7 }, 7],
    ["its own hits before the request's", { hitsAddend: 7, descriptors: [{ entries, hitsAddend: 3n }] }, 3],
    ["1 for own hits of 0", { hitsAddend: 7, descriptors: [{ entries, hitsAddend: 0n }] }, 1],
    ["2^32 for more, which fits under no limit", { descriptors: [{ entries, hitsAddend: 2n ** 64n - 1n }] }, 2 ** 32],
    ["the largest hits of a request", { hitsAddend: 2 ** 32 - 1 }, 2 ** 32 - 1],
  ])("costs %s", (_, init, cost) => {
    expect(read(init)[0]!.cost).toBe(cost);
  });

  it.each([
    [RateLimitUnit.MINUTE, 5, { perMinute: 5, perDay: undefined }],
    [RateLimitUnit.DAY, 0, { perMinute: undefined, perDay: 0 }],
    [RateLimitUnit.DAY, 2 ** 32 - 1, { perMinute: undefined, perDay: 2 ** 31 - 1 }],
  ])("brings a limit of unit %i with %i requests", (unit, requestsPerUnit, figures) => {
    expect(read({ descriptors: [{ entries, limit: { unit, requestsPerUnit } }] })[0]!.override).toEqual(figures);
  });

  it("names a key only by one entry called key", () => {
    const keyIdOf = (...some: { key: string; value: string }[]) => read({ descriptors: [{ entries: some }] })[0]!.keyId;
    expect(keyIdOf({ key: "key", value: "x" })).toBe("x");
    expect(keyIdOf({ key: "key", value: "" })).toBe("");
    expect(keyIdOf({ key: "key", value: "x" }, { key: "path", value: "/" })).toBeUndefined();
    expect(keyIdOf({ key: "Key", value: "x" })).toBeUndefined();
  });

  const limit = (unit: number) => ({
    descriptors: [{ entries, limit: { unit: unit as RateLimitUnit, requestsPerUnit: 1 } }],
  });
  it.each<[string, Init, string[]]>([
    ["no domain", { domain: "" }, ["domain"]],
    ["a domain of 257 bytes", { domain: "d".repeat(257) }, ["domain"]],
    ["no descriptor", { descriptors: [] }, ["descriptors"]],
    ["33 descriptors", { descriptors: Array.from({ length: 33 }, () => ({ entries })) }, ["descriptors"]],
    ["a descriptor without entries", { descriptors: [{ entries }, {}] }, ["descriptors[1].entries"]],
    [
      "17 entries",
      { descriptors: [{ entries: Array.from({ length: 17 }, () => entries[0]!) }] },
      ["descriptors[0].entries"],
    ],
    ["an entry without a key", { descriptors: [{ entries: [{ value: "a" }] }] }, ["descriptors[0].entries[0].key"]],
    [
      "a key of 257 bytes",
      { descriptors: [{ entries: [{ key: "k".repeat(257) }] }] },
      ["descriptors[0].entries[0].key"],
    ],
    ["a limit without a unit", limit(RateLimitUnit.UNKNOWN), ["descriptors[0].limit.unit"]],
    ["a limit per second", limit(RateLimitUnit.SECOND), ["descriptors[0].limit.unit"]],
    ["a limit per hour", limit(RateLimitUnit.HOUR), ["descriptors[0].limit.unit"]],
    ["a limit of a unit that this service does not know", limit(77), ["descriptors[0].limit.unit"]],
    ["negative hits", { descriptors: [{ entries, isNegativeHits: true }] }, ["descriptors[0].is_negative_hits"]],
    [
      "several faults",
      { domain: "", descriptors: [{}, { entries, isNegativeHits: true }] },
      ["domain", "descriptors[0].entries", "descriptors[1].is_negative_hits"],
    ],
  ])("of a request with %s is refused, with each field named", (_, init, fields) => {
    const error = errorThrownBy(() => read(init)) as DomainError;
    expect(error).toBeInstanceOf(DomainError);
    expect([error.reason, error.violations.map(({ field }) => field)]).toEqual(["INVALID_FIELD", fields]);
  });

  it("may have any value, of any length, since values come from Envoy's clients", () => {
    for (const value of ["", "\0", "\u202e", "x".repeat(100_000), "{}:/=%#"]) {
      expect(read({ descriptors: [{ entries: [{ key: "name", value }] }] })).toHaveLength(1);
    }
  });
});

describe("the subject of a descriptor", () => {
  const text = fc.oneof(
    fc.constantFrom(
      "",
      "a",
      "a/name=b",
      "/",
      "=",
      "%",
      "%2F",
      "#",
      "{a}",
      ":",
      "\0",
      "é",
      "name",
      "d/name=a",
      "\ud800",
    ),
    fc.string({ unit: "binary", maxLength: 12 }),
  );
  const named = fc.record({ key: fc.oneof(fc.constantFrom("name", "k", "a=b"), text), value: text });
  const descriptor = fc.tuple(text, fc.array(named, { minLength: 1, maxLength: 3 }));

  it.each([
    ["d", [{ key: "name", value: "alice" }], "d/name=alice"],
    [
      "d",
      [
        { key: "path", value: "/a?b=1" },
        { key: "ip", value: "::1" },
      ],
      "d/path=%2Fa%3Fb%3D1/ip=%3A%3A1",
    ],
    ["a/b", [{ key: "k", value: "" }], "a%2Fb/k="],
  ])("is readable: domain %j and entries %j", (domain, some, name) => {
    expect(subjectName(domain, some)).toBe(name);
  });

  it("is another one for another domain, another entry, or another order of entries, whatever their texts", () => {
    fc.assert(
      fc.property(descriptor, descriptor, ([domain, some], [otherDomain, others]) => {
        const wellFormed = (each: typeof some) =>
          each.map(({ key, value }) => [key.toWellFormed(), value.toWellFormed()]);
        const isSame =
          domain.toWellFormed() === otherDomain.toWellFormed() &&
          JSON.stringify(wellFormed(some)) === JSON.stringify(wellFormed(others));
        expect(subjectName(domain, some) === subjectName(otherDomain, others)).toBe(isSame);
      }),
      { numRuns: 3_000 },
    );
  });

  it("is one that CheckRateLimit takes", () => {
    fc.assert(
      fc.property(descriptor, ([domain, some]) => {
        const name = subjectName(domain || "d", some);
        expect([textViolation("name", name, { min: 1, max: 256 }), Buffer.byteLength(name) <= 256]).toEqual([
          undefined,
          true,
        ]);
      }),
    );
  });

  it("is a digest if its name has more than 256 bytes, and differs in each byte of a long value", () => {
    const of = (value: string) => subjectName("d", [{ key: "k", value }]);
    expect(of("x".repeat(252))).toBe(`d/k=${"x".repeat(252)}`);
    expect(of("x".repeat(253))).toMatch(/^#[\w-]{43}$/);
    expect(of(`${"x".repeat(60_000)}a`)).not.toBe(of(`${"x".repeat(60_000)}b`));
  });
});
