import { setTimeout as pause } from "node:timers/promises";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AuditEvent } from "@latchkey/client/contract";
import type { Invocation } from "./invocation.ts";
import { Outage } from "./outage.ts";
import { msOf } from "./times.ts";

interface Filter {
  readonly subjectId: string;
  readonly actorId: string;
}

const POLL_MS = 1000;
const FIRST_EVENTS = 10;
const PAGE_SIZE = 250;
/**
 * An event has the time at which its transaction began, so one that commits late is older than others that are known.
 * Each poll asks again for this time before the newest event. The service ends transactions sooner.
 */
const OVERLAP_MS = 30_000;

/**
 * The events of the audit trail as they come, oldest first, each once: first those since `since`, or the last 10. It
 * asks once a second, and goes on after an outage without a gap. All times are the service's.
 *
 * @throws ConnectError if the service refuses, or if it did not answer at the beginning
 */
export async function* tailAudit(
  invocation: Invocation,
  filter: Filter,
  since: Timestamp | undefined,
): AsyncGenerator<AuditEvent> {
  const { io, progress } = invocation;
  const outage = new Outage(invocation);
  /** Id -> time, of the events that a further poll may list again. */
  const known = new Map<string, number>();
  let startTime = since;
  for (let isFirst = true; ; isFirst = false) {
    const events = await answered(outage, () => eventsSince(invocation, filter, startTime));
    const fresh = events.filter(({ id }) => !known.has(id));
    for (const { id, eventTime } of events) known.set(id, eventTime === undefined ? 0 : msOf(eventTime));
    if (known.size > 0) startTime = forget(known);
    yield* (isFirst && since === undefined ? fresh.slice(0, FIRST_EVENTS) : fresh).reverse();
    progress.tell("waiting for events");
    await pause(POLL_MS, undefined, { signal: io.signal });
  }
}

/** All events since then, newest first. Without a time: the newest page. */
async function eventsSince(
  { admin, call }: Invocation,
  filter: Filter,
  startTime: Timestamp | undefined,
): Promise<AuditEvent[]> {
  const found: AuditEvent[] = [];
  let pageToken = "";
  do {
    const request = { ...filter, pageSize: PAGE_SIZE, pageToken, ...(startTime !== undefined && { startTime }) };
    const { events, nextPageToken } = await admin.listAuditEvents(request, call);
    found.push(...events);
    pageToken = startTime === undefined ? "" : nextPageToken;
  } while (pageToken !== "");
  return found;
}

async function answered<T>(outage: Outage, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      const answer = await ask();
      outage.over();
      return answer;
    } catch (error) {
      await outage.wait(error);
    }
  }
}

/** Forgets events that no further poll lists. Returns the time from which the next poll asks. */
function forget(known: Map<string, number>): Timestamp {
  const startMs = Math.max(0, Math.max(...known.values()) - OVERLAP_MS);
  for (const [id, ms] of known) if (ms < startMs) known.delete(id);
  return timestampFromMs(startMs);
}
