import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { remoteSpan } from "../../src/rpc/calls/trace-context.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const GOOD = `00-${TRACE}-${SPAN}-01`;

function read(traceparent: readonly string[], tracestate: readonly string[] = []) {
  const headers: Record<string, readonly string[]> = { traceparent, tracestate };
  return remoteSpan({ header: (name) => headers[name] ?? [] });
}

describe("remoteSpan", () => {
  it("reads a traceparent of W3C Trace Context", () => {
    expect(read([GOOD])).toEqual({ traceId: TRACE, spanId: SPAN, traceFlags: 1, traceState: undefined });
  });

  it.each([
    ["00", 0],
    ["02", 0],
    ["03", 1],
    ["ff", 1],
  ])("of the flags %s, knows only whether the trace is sampled", (flags, sampled) => {
    expect(read([`00-${TRACE}-${SPAN}-${flags}`])?.traceFlags).toBe(sampled);
  });

  it("reads the fields that it knows of a later version", () => {
    expect(read([`01-${TRACE}-${SPAN}-01-more`])).toMatchObject({ traceId: TRACE, spanId: SPAN });
  });

  it.each([
    ["nothing", []],
    ["an empty value", [""]],
    ["two values", [GOOD, GOOD]],
    ["two values in one header", [`${GOOD},${GOOD}`]],
    ["upper case", [GOOD.toUpperCase()]],
    ["a space before it", [` ${GOOD}`]],
    ["a line break after it", [`${GOOD}\n`]],
    ["a trace id of zeros", [`00-${"0".repeat(32)}-${SPAN}-01`]],
    ["a span id of zeros", [`00-${TRACE}-${"0".repeat(16)}-01`]],
    ["the version ff", [`ff-${TRACE}-${SPAN}-01`]],
    ["further fields in version 00", [`${GOOD}-more`]],
    ["a later version that goes on without a dash", [`01-${TRACE}-${SPAN}-01more`]],
    ["more than 512 characters", [`01-${TRACE}-${SPAN}-01-${"a".repeat(512)}`]],
    ["16 KiB", ["0".repeat(16_384)]],
  ])("takes %s for no trace", (_what, values) => {
    expect(read(values)).toBeUndefined();
  });

  it("takes a tracestate of up to 512 characters, in several headers too, and ignores a longer one", () => {
    expect(read([GOOD], ["a=1", "b=2"])?.traceState).toBe("a=1,b=2");
    expect(read([GOOD], [`a=${"1".repeat(510)}`])?.traceState).toHaveLength(512);
    expect(read([GOOD], [`a=${"1".repeat(511)}`])).toMatchObject({ traceId: TRACE, traceState: undefined });
    expect(read([GOOD], Array(100).fill("a=123456"))?.traceState).toBeUndefined();
  });

  it("never throws, and returns nothing but ids of hexadecimal digits", () => {
    const texts = fc.array(fc.oneof(fc.string({ maxLength: 80 }), fc.constant(GOOD)), { maxLength: 3 });
    fc.assert(
      fc.property(texts, texts, (traceparent, tracestate) => {
        const found = read(traceparent, tracestate);
        if (found !== undefined) expect(`${found.traceId}-${found.spanId}`).toMatch(/^[0-9a-f]{32}-[0-9a-f]{16}$/);
      }),
    );
  });
});
