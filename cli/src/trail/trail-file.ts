import { createReadStream } from "node:fs";

/** An event of an exported audit trail. */
export interface TrailEvent {
  readonly id: string;
  readonly kind: string;
  readonly timeMs: number;
  readonly actorId: string;
  readonly subjectId: string;
  readonly details: Readonly<Record<string, string>>;
}

/** A line that is no event, with its number. */
export interface BadLine {
  readonly file: string;
  readonly line: number;
  readonly why: string;
}

/** A longer line is no event: the service's are shorter than 16 KiB. */
const MAX_LINE_BYTES = 64 << 10;
const NEWLINE = 10;
const ID = /^evt_[0-9A-Za-z]{16}$/;
const SUBJECT = /^([a-z]{3}_[0-9A-Za-z]{16}|[\w-]{43}|bootstrap)?$/;

/**
 * The events of a file that LATCHKEY_AUDIT_EXPORT wrote, or of saved webhooks, one a line. Lines of the service's log
 * are left out. A torn line, as a crash leaves one, is a BadLine.
 *
 * @throws the error of node:fs if the file can't be read
 */
export async function* readTrail(file: string): AsyncGenerator<TrailEvent | BadLine> {
  let line = 0;
  for await (const text of linesOf(file)) {
    line++;
    const read = text === undefined ? "it is longer than 64 KiB" : eventOf(text);
    if (typeof read === "string") yield { file, line, why: read };
    else if (read !== undefined) yield read;
  }
}

/** @returns undefined for an empty line or a line of the log; a text says why it is no event */
function eventOf(text: string): TrailEvent | string | undefined {
  if (text.trim() === "") return undefined;
  const value = jsonOf(text);
  if (value === undefined) return "it is not a JSON object";
  if ("level" in value) return undefined;
  const { type, timestamp, data } = value;
  if (typeof type !== "string" || !/^[a-z_]{1,40}\.[a-z_]{1,40}$/.test(type)) return "its `type` is no kind of event";
  const timeMs = typeof timestamp === "string" ? Date.parse(timestamp) : Number.NaN;
  if (Number.isNaN(timeMs)) return "its `timestamp` is no time";
  const { id, subject_id: subjectId, actor_id: actorId, details } = isObject(data) ? data : {};
  if (typeof id !== "string" || !ID.test(id)) return "its `data.id` is no id of an event";
  if (!isSubject(subjectId) || !isSubject(actorId)) return "its `data` has no subject or no actor";
  if (!isObject(details) || !Object.values(details).every((each) => typeof each === "string")) {
    return "its `data.details` are no texts";
  }
  return { id, kind: type, timeMs, actorId, subjectId, details: details as Record<string, string> };
}

function jsonOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSubject(value: unknown): value is string {
  return typeof value === "string" && SUBJECT.test(value);
}

/** The lines of a file; undefined for each line that is too long. Keeps at most one line in memory. */
async function* linesOf(file: string): AsyncGenerator<string | undefined> {
  let kept: Buffer[] = [];
  let bytes = 0;
  const keep = (part: Buffer) => {
    bytes += part.length;
    if (bytes <= MAX_LINE_BYTES) kept.push(part);
  };
  const take = () => {
    const line = bytes > MAX_LINE_BYTES ? undefined : Buffer.concat(kept).toString("utf8");
    kept = [];
    bytes = 0;
    return line;
  };
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      keep(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      yield take();
    }
    keep(rest);
  }
  if (bytes > 0) yield take();
}
