import type { Reason, UntoldFacts } from "../../lib/errors.ts";
import type { Log } from "../../lib/log.ts";
import type { Caller } from "../call.ts";
import type { LiveCall } from "./live-call.ts";

/** How a call ended. */
export interface Outcome {
  /** Name of the gRPC code: OK, NOT_FOUND ... */
  readonly code: string;
  readonly reason?: Reason;
  /** What was thrown, for the log alone. */
  readonly cause?: unknown;
  /** For log and audit trail alone. */
  readonly untold?: UntoldFacts | undefined;
}

/** Calls that services make for each request that they serve, and probes: a line for each would be most of the log. */
const QUIET_WHEN_OK: ReadonlySet<string> = new Set([
  "latchkey.v1.KeyService.VerifyKey",
  "latchkey.v1.KeyService.BatchVerifyKeys",
  "latchkey.v1.KeyService.CheckRateLimit",
  "grpc.health.v1.Health.Check",
]);

/** Reasons that are the service's own fault: whoever operates it must hear of them, with the cause. */
const ALARMS: ReadonlySet<Reason> = new Set(["INTERNAL", "MASTER_KEY_MISSING"]);

/** Codes of calls that were refused for who made them. */
const REFUSED: ReadonlySet<string> = new Set(["UNAUTHENTICATED", "PERMISSION_DENIED"]);

/**
 * One line per call. Its fields are all that is ever logged of one. None is a text that a client wrote: the id is the
 * one that the client proved, the address that of its connection or the one that a trusted proxy names. The address is
 * logged only of calls that failed and have no id, or were refused for who made them.
 */
export function logCall(log: Log, call: LiveCall, outcome: Outcome, ms: number): void {
  const method = call.route.name;
  if (outcome.code === "OK" && QUIET_WHEN_OK.has(method)) return;
  const fields = {
    method,
    code: outcome.code,
    reason: outcome.reason,
    ms: Math.round(ms * 10) / 10,
    caller: callerId(call.caller),
    client_ip: isTraced(call, outcome) ? call.clientIp : undefined,
    account: outcome.untold?.account,
  };
  if (outcome.reason !== undefined && ALARMS.has(outcome.reason)) log.error("call failed", fields, outcome.cause);
  else log.info("call", fields);
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
