import type { Reason } from "../../lib/errors.ts";
import type { Attributes, ServerSpan, ServerSpans, SpanFacts } from "../../lib/tracing.ts";
import type { CallHead } from "../call.ts";
import type { Route } from "../routes.ts";
import { remoteSpan } from "./trace-context.ts";

/** How a call ended: the name of its gRPC code, and the reason of its error. */
export interface CallEnd {
  readonly code: string;
  readonly reason?: Reason;
}

/** Codes with which a server's span counts as failed, by OpenTelemetry's conventions for gRPC. */
const FAULTS: ReadonlySet<string> = new Set([
  ...["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"],
]);
const OK: Attributes = Object.freeze({ "rpc.response.status_code": "OK" });

/** The facts of a route's spans by protocol, because they are the same for each call. */
const knownFacts = new WeakMap<Route, Map<string, SpanFacts>>();

/** Begins the span of a call, below the span that the client names. */
export function startCallSpan(spans: ServerSpans, route: Route, head: CallHead): ServerSpan {
  return spans.start(factsOf(route, head), remoteSpan(head));
}

/** Ends the span of a call. A reason is of the closed set of docs/ERRORS.md; no text of an error is in a span. */
export function endCallSpan(span: ServerSpan, { code, reason }: CallEnd): void {
  const failed = { "rpc.response.status_code": code, "error.type": code, "latchkey.reason": reason };
  span.end(code === "OK" ? OK : failed, FAULTS.has(code));
}

function factsOf(route: Route, head: CallHead): SpanFacts {
  const lane = head.httpRoute ?? systemOf(head);
  let facts = knownFacts.get(route);
  if (facts === undefined) {
    facts = new Map();
    knownFacts.set(route, facts);
  }
  let found = facts.get(lane);
  if (found === undefined) {
    found = head.httpRoute === undefined ? rpcFacts(route, lane) : restFacts(route, head.httpRoute);
    facts.set(lane, found);
  }
  return found;
}

/** `rpc.system.name`. gRPC-Web counts as gRPC. A GET of Connect has no content type. */
function systemOf(head: CallHead): string {
  return head.header("content-type")[0]?.startsWith("application/grpc") ? "grpc" : "connectrpc";
}

function rpcFacts({ path }: Route, system: string): SpanFacts {
  const method = path.slice(1);
  return { name: method, attributes: Object.freeze({ "rpc.system.name": system, "rpc.method": method }) };
}

/** A REST call has the name of an HTTP span: the template of its path, because the path itself has ids. */
function restFacts({ path }: Route, httpRoute: string): SpanFacts {
  const [verb = "", template = ""] = httpRoute.split(" ");
  const http = { "http.request.method": verb, "http.route": template, "rpc.method": path.slice(1) };
  return { name: httpRoute, attributes: Object.freeze(http) };
}
