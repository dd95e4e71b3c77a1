import { invalidField } from "../lib/errors.ts";
import type { Cursor } from "./change-store.ts";

/** `v2:<system id>:<timeline>:<start of the server>:<xmin>:<xmax>:<transactions under way between them>` */
const FORM = /^v2:(\d{1,20}):(\d{1,10}):(\d{1,19}):((\d{1,19}):(\d{1,19}):(\d{1,19}(?:,\d{1,19})*)?)$/;
/** A snapshot names every transaction that was under way: at most as many as the database has connections. */
const MAX_LENGTH = 65_536;

/** A cursor for clients: opaque, and good on every process. */
export function cursorText(cursor: Cursor): string {
  const { systemId, timeline } = cursor.epoch;
  return Buffer.from(`v2:${systemId}:${timeline}:${cursor.serverStart}:${cursor.snapshot}`).toString("base64url");
}

/**
 * Reads a client's cursor. What passes is a snapshot that PostgreSQL can read, though a liar may have made it up: all
 * that he gains is to be told of other changes than he missed.
 *
 * @throws INVALID_FIELD
 */
export function parseCursor(text: string): Cursor {
  const plain = text.length <= MAX_LENGTH ? Buffer.from(text, "base64url").toString("latin1") : "";
  const match = FORM.exec(plain);
  if (match === null || !isSnapshot(match)) {
    throw invalidField("cursor", "must be empty, or the cursor of a message of this stream");
  }
  const epoch = { systemId: match[1]!, timeline: Number(match[2]) };
  return { epoch, serverStart: match[3]!, snapshot: match[4]! };
}

/** The database wants xmin ≤ each transaction < xmax, in order. */
function isSnapshot(match: RegExpExecArray): boolean {
  const [xmin, xmax] = [BigInt(match[5]!), BigInt(match[6]!)];
  const underWay = match[7]?.split(",").map(BigInt) ?? [];
  const largest = 2n ** 63n - 1n;
  if (xmin < 1n || xmax < xmin || xmax > largest) return false;
  return underWay.every((id, at) => id >= xmin && id < xmax && (at === 0 || id > underWay[at - 1]!));
}
