import { invalidField } from "../lib/errors.ts";
import type { Cursor } from "./change-store.ts";

/** `v3:<system id>:<timeline>:<incarnation>:<xmin>:<xmax>:<transactions under way between them>` */
const FORM =
  /^v3:(\d{1,20}):(\d{1,10}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):((\d{1,19}):(\d{1,19}):(\d{1,19}(?:,\d{1,19})*)?)$/;
/** A cursor of an older or a newer release, which this release can't read. */
const OTHER_VERSION = /^v(?!3:)[1-9]\d{0,3}(?::[0-9a-f,-]*){4,}$/;
/** A snapshot names every transaction that was under way: at most one for each connection of the database. */
const MAX_LENGTH = 65_536;

/** The cursor as text for clients: opaque, and valid on every process. */
export function cursorText({ epoch, snapshot }: Cursor): string {
  return Buffer.from(`v3:${epoch.systemId}:${epoch.timeline}:${epoch.incarnation}:${snapshot}`).toString("base64url");
}

/**
 * Parses a client's cursor. The result is a snapshot that PostgreSQL can read. A client may have made it up. Then they
 * only get other changes than the ones that they missed.
 *
 * @returns "of another version" for a cursor that a client kept through an upgrade: its snapshot is unknown
 * @throws INVALID_FIELD for any other text
 */
export function parseCursor(text: string): Cursor | "of another version" {
  const plain = text.length <= MAX_LENGTH ? Buffer.from(text, "base64url").toString("latin1") : "";
  if (OTHER_VERSION.test(plain)) return "of another version";
  const match = FORM.exec(plain);
  if (match === null || !isSnapshot(match)) {
    throw invalidField("cursor", "must be empty, or the cursor of a message of this stream");
  }
  const epoch = { systemId: match[1]!, timeline: Number(match[2]), incarnation: match[3]! };
  return { epoch, snapshot: match[4]! };
}

/** PostgreSQL requires xmin ≤ each transaction < xmax, in ascending order. */
function isSnapshot(match: RegExpExecArray): boolean {
  const [xmin, xmax] = [BigInt(match[5]!), BigInt(match[6]!)];
  const underWay = match[7]?.split(",").map(BigInt) ?? [];
  const largest = 2n ** 63n - 1n;
  if (xmin < 1n || xmax < xmin || xmax > largest) return false;
  return underWay.every((id, at) => id >= xmin && id < xmax && (at === 0 || id > underWay[at - 1]!));
}
