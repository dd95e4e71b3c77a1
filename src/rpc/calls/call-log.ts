import type { DescMethod } from "@bufbuild/protobuf";
import type { Reason, UntoldFacts } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { Caller } from "../call.ts";
import type { LiveCall } from "./live-call.ts";
import { remoteSpan } from "./trace-context.ts";

/** How a call ended. */
export interface Outcome {
  /** Name of the gRPC code: OK, NOT_FOUND ... */
  readonly code: string;
  readonly reason?: Reason;
  /** The error that was thrown; only for the log. */
  readonly cause?: unknown;
  /** Only for log and audit trail. */
  readonly untold?: UntoldFacts | undefined;
}

/** Measures calls. */
export interface CallObserver {
  /** Called once for each call. `code` is the name of the gRPC code, OK included. Must not throw. */
  finished(method: DescMethod, code: string, ms: number): void;
}

/** Methods that services call for each request that they serve, and probes: their lines would be most of the log. */
const QUIET_WHEN_OK: ReadonlySet<string> = new Set([
  "latchkey.v1.KeyService.VerifyKey",
  "latchkey.v1.KeyService.BatchVerifyKeys",
  "latchkey.v1.KeyService.CheckRateLimit",
  "latchkey.v1.KeyService.BatchCheckRateLimits",
  "envoy.service.auth.v3.Authorization.Check",
  "envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit",
  "grpc.health.v1.Health.Check",
]);

/** Reasons that are the service's own fault: its operator must see them, with the cause. */
const ALARMS: ReadonlySet<Reason> = new Set(["INTERNAL", "MASTER_KEY_MISSING"]);

/** The header with the request id of the call's log line. */
const REQUEST_ID = "x-request-id";

/** Codes of calls that were refused because of their caller. */
const REFUSED: ReadonlySet<string> = new Set(["UNAUTHENTICATED", "PERMISSION_DENIED"]);

/**
 * Writes one line for a call, with these fields only. None of them is a text that a client wrote, except the 32
 * hexadecimal digits of a trace: the client proved the id, and the address is the connection's or comes from a trusted
 * proxy. The line has the address only if an anonymous call failed, or if a call was refused because of its caller.
 *
 * The answer gets the line's request id: a header of a good answer, a trailer of an error, which has no headers.
 */
export function logCall(log: Log, call: LiveCall, outcome: Outcome, ms: number): void {
  const method = call.route.name;
  if (outcome.code === "OK" && QUIET_WHEN_OK.has(method)) return;
  const fields = {
    request_id: call.requestId,
    trace_id: call.span?.traceId ?? remoteSpan(call.head)?.traceId,
    method,
    http_route: call.head.httpRoute,
    code: outcome.code,
    reason: outcome.reason,
    ms: Math.round(ms * 10) / 10,
    caller: callerId(call.caller),
    client_ip: isTraced(call, outcome) ? call.clientIp : undefined,
    account: outcome.untold?.account,
  };
  if (outcome.reason !== undefined && ALARMS.has(outcome.reason)) log.error("call failed", fields, outcome.cause);
  else log.info("call", fields);
  if (outcome.code === "OK") call.addHeader(REQUEST_ID, call.requestId);
  else call.addTrailer(REQUEST_ID, call.requestId);
}

function isTraced({ caller }: LiveCall, { code }: Outcome): boolean {
  return code !== "OK" && (caller.kind === "anonymous" || REFUSED.has(code));
}

function callerId(caller: Caller): string {
  switch (caller.kind) {
    case "anonymous":
      return "anonymous";
    case "user":
      return caller.userId;
    case "service":
      return caller.credentialId;
    default:
      return caller satisfies never;
  }
}
