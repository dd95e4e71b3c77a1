/** Reads W3C Trace Context, level 1: the headers `traceparent` and `tracestate`. Baggage is not read. */
import type { RemoteSpan } from "../../lib/tracing.ts";
import type { CallHead } from "../call.ts";

/** Version, trace id, parent id and flags. A later version may add further fields (section 3.2.4). */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** Maximum length of either header. Version 00 of `traceparent` has 55 characters; a vendor's state may have 512. */
const MAX_LENGTH = 512;
const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);

/**
 * The span that the client's call belongs to; undefined without one. A header that is malformed, repeated or longer
 * than MAX_LENGTH counts as none, because a bad trace must never fail a call. A bad `tracestate` leaves `traceparent`
 * valid. Anyone may send any ids: they prove nothing.
 */
export function remoteSpan(head: Pick<CallHead, "header">): RemoteSpan | undefined {
  const values = head.header("traceparent");
  if (values.length !== 1 || values[0]!.length > MAX_LENGTH) return undefined;
  const [, version, traceId, spanId, flags, rest] = TRACEPARENT.exec(values[0]!) ?? [];
  if (traceId === undefined || traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  // Only the lowest bit has a meaning that this version knows: the client has sampled the trace.
  const traceFlags = Number.parseInt(flags!, 16) & 1;
  return { traceId, spanId: spanId!, traceFlags, traceState: traceStateOf(head) };
}

/** The headers are one list (section 3.3.1). */
function traceStateOf(head: Pick<CallHead, "header">): string | undefined {
  const state = head.header("tracestate").join(",");
  return state === "" || state.length > MAX_LENGTH ? undefined : state;
}
