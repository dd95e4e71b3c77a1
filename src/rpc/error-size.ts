import type { Violation } from "../lib/errors.ts";

/*
 * What an error may take on the wire. It travels in headers, of which grpc-java and gRPC's C core take 8 KiB in all: of
 * anything longer the client sees a fault of the connection. A text travels escaped and again in base64, three bytes for
 * one where it is not ASCII, and what it repeats of a request may be as long as the request.
 */

const MAX_TEXT_BYTES = 512;
const MAX_VIOLATIONS = 16;
const MAX_VIOLATIONS_BYTES = 2048;
/** Of a violation's field, and of its description. */
const MAX_PART_BYTES = 160;
const ELLIPSIS = "…";

/** The text of an error, cut where it is longer than 512 bytes. */
export function boundedText(text: string): string {
  return cut(text, MAX_TEXT_BYTES);
}

/** The first violations: as many as 16 and 2 KiB hold, and one at least. */
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

/** Never ends within a character. */
function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - Buffer.byteLength(ELLIPSIS);
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end) + ELLIPSIS;
}
