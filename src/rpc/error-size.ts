import type { Violation } from "../lib/errors.ts";

/*
 * The size of an error on the wire. An error travels in headers, and grpc-java and gRPC's C core accept 8 KiB of
 * headers in all. A client reports a longer error as a fault of the connection. Each text is sent twice:
 * percent-encoded, with three bytes for each byte that is not ASCII, and in base64. A text that repeats a part of the
 * request could be as long as the request, so this file cuts it.
 */

const MAX_TEXT_BYTES = 512;
const MAX_VIOLATIONS = 16;
const MAX_VIOLATIONS_BYTES = 2048;
/** Bound of a violation's field, and of its description. */
const MAX_PART_BYTES = 160;
const ELLIPSIS = "…";

/** The text of an error, cut to 512 bytes. */
export function boundedText(text: string): string {
  return cut(text, MAX_TEXT_BYTES);
}

/** The first violations: at least 1, at most 16 and 2 KiB of them, with each part cut to 160 bytes. */
export function boundedViolations(violations: readonly Violation[]): Violation[] {
  const bounded: Violation[] = [];
  let room = MAX_VIOLATIONS_BYTES;
  for (const { field, description, ...rest } of violations.slice(0, MAX_VIOLATIONS)) {
    const violation = { field: cut(field, MAX_PART_BYTES), description: cut(description, MAX_PART_BYTES), ...rest };
    room -= Object.values(violation).reduce((sum, part) => sum + Buffer.byteLength(part), 0);
    if (room < 0) break;
    bounded.push(violation);
  }
  return bounded;
}

/** Cuts a text to `maxBytes` of UTF-8, between two characters. */
function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - Buffer.byteLength(ELLIPSIS);
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end) + ELLIPSIS;
}
