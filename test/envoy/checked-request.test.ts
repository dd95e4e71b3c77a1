import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CheckedRequest, readCheckRequest } from "../../src/envoy/checked-request.ts";
import { CheckRequestSchema } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";

const text = fc.string({ unit: "grapheme", maxLength: 40 });
/** Names as Envoy lets them through. */
const name = fc.stringMatching(/^:?[A-Za-z0-9_-]{0,20}$/);
const fields = fc.dictionary(text, text, { maxKeys: 6 });
const peer = fc.record({
  address: fc.record({
    address: fc.oneof(
      fc.record({ case: fc.constant("socketAddress" as const), value: fc.record({ address: text }) }),
      fc.record({ case: fc.constant("pipe" as const), value: fc.record({ path: text, mode: fc.nat() }) }),
    ),
  }),
  service: text,
  labels: fields,
  certificate: text,
});
const http = fc.record(
  {
    id: text,
    method: text,
    path: text,
    host: text,
    size: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    headers: fc.dictionary(name, text, { maxKeys: 6 }),
    headerMap: fc.record({
      headers: fc.array(fc.record({ key: name, rawValue: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 6 }),
    }),
    body: text,
    rawBody: fc.uint8Array({ maxLength: 100 }),
  },
  { requiredKeys: [] },
);
/** Messages with all fields that Envoy fills, and the fields that a check skips. */
const messages = fc.record({
  attributes: fc.record(
    {
      source: peer,
      destination: peer,
      request: fc.record({ time: fc.record({ seconds: fc.bigInt({ min: -100n, max: 2n ** 40n }) }), http }),
      contextExtensions: fields,
      metadataContext: fc.record({ filterMetadata: fc.dictionary(text, fields, { maxKeys: 2 }) }),
      tlsSession: fc.record({ sni: text }),
    },
    { requiredKeys: [] },
  ),
});

/** Each text as the reader has it: one character for each byte. */
const bytes = (value: string) => Buffer.from(value).toString("latin1");

describe("a CheckRequest", () => {
  it("is read as protobuf-es reads it", () => {
    fc.assert(
      fc.property(messages, (init) => {
        const encoded = toBinary(CheckRequestSchema, create(CheckRequestSchema, init));
        const { attributes } = fromBinary(CheckRequestSchema, encoded);
        const sent = attributes?.request?.http;
        const address = attributes?.source?.address?.address;
        const read = readCheckRequest(encoded);
        expect(read.verb).toBe(bytes(sent?.method ?? ""));
        expect(read.path).toBe(bytes(sent?.path ?? ""));
        expect(read.peerAddress).toBe(address?.case === "socketAddress" ? bytes(address.value.address) : "");
        expect(Object.fromEntries(read.extensions)).toEqual(attributes?.contextExtensions ?? {});
        const expected = [
          ...Object.entries(sent?.headers ?? {}).map(([key, value]) => [key.toLowerCase(), bytes(value)]),
          ...(sent?.headerMap?.headers ?? []).map(({ key, rawValue }) => [
            key.toLowerCase(),
            Buffer.from(rawValue).toString("latin1"),
          ]),
        ];
        expect(headersOf(read).sort()).toEqual(expected.sort());
      }),
      { numRuns: 100 },
    );
  });

  it("of any bytes is read or refused, never anything else", () => {
    const mutated = fc
      .tuple(messages, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 }), fc.nat())
      .map(([init, changes, cut]) => {
        const encoded = toBinary(CheckRequestSchema, create(CheckRequestSchema, init));
        for (const [at, byte] of changes) if (encoded.length > 0) encoded[at % encoded.length] = byte;
        return encoded.subarray(0, encoded.length - (cut % 3));
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (encoded) => {
        try {
          expect(readCheckRequest(encoded).namesWith("")).toBeInstanceOf(Array);
        } catch (error) {
          expect(error).toEqual(new Error("not a protobuf message"));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("has all names that begin with a prefix in any case, and with _ for -", () => {
    const headers = ["X-Latchkey-Key-Id", "x_latchkey_tier", "x-latchkey", "ax-latchkey-b", "X_Latchkey-c"];
    const message = create(CheckRequestSchema, {
      attributes: { request: { http: { headerMap: { headers: headers.map((key) => ({ key })) } } } },
    });
    const read = readCheckRequest(toBinary(CheckRequestSchema, message));
    expect(read.namesWith("x-latchkey-")).toEqual(["x-latchkey-key-id", "x_latchkey_tier", "x_latchkey-c"]);
    expect([read.values("x-latchkey-key-id"), read.values("x-latchkey-tier")]).toEqual([[""], []]);
  });

  it("has texts that are no UTF-8, because a client writes them and must get an answer", () => {
    const message = create(CheckRequestSchema, {
      attributes: { request: { http: { path: "/AB", headers: { c: "D" } } } },
    });
    const encoded = Buffer.from(toBinary(CheckRequestSchema, message));
    for (const letter of "ABD") encoded[encoded.lastIndexOf(letter)] = 0xff;
    expect(() => fromBinary(CheckRequestSchema, encoded)).toThrow();
    const read = readCheckRequest(encoded);
    expect([read.path, read.values("c")]).toEqual(["/\xff\xff", ["\xff"]]);
  });

  it("with a group that no field has is read, and one that has no end is not", () => {
    const group = [0x7b, 0x08, 0x01, 0x7c];
    expect(readCheckRequest(Uint8Array.from(group)).namesWith("")).toEqual([]);
    expect(() => readCheckRequest(Uint8Array.from(group.slice(0, 3)))).toThrow("not a protobuf message");
    expect(() => readCheckRequest(new Uint8Array(1000).fill(0x7b))).toThrow("not a protobuf message");
  });

  it("of 20,000 small headers is read in far less than a second", () => {
    const headers = Array.from({ length: 20_000 }, (_, at) => ({ key: `x-latchkey-${at}`, value: "" }));
    const message = create(CheckRequestSchema, { attributes: { request: { http: { headerMap: { headers } } } } });
    const encoded = toBinary(CheckRequestSchema, message);
    readCheckRequest(encoded);
    const start = performance.now();
    expect(readCheckRequest(encoded).namesWith("")).toHaveLength(20_000);
    expect(performance.now() - start).toBeLessThan(500);
  });
});

function headersOf(request: CheckedRequest): string[][] {
  return [...new Set(request.namesWith(""))].flatMap((name) => request.values(name).map((value) => [name, value]));
}
