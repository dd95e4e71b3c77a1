import type { Reason } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { Caller } from "./call.ts";
import type { LiveCall } from "./live-call.ts";

/** How a call ended. */
export interface Outcome {
  /** Name of the gRPC code: OK, NOT_FOUND ... */
  readonly code: string;
  readonly reason?: Reason;
  /** What was thrown, for the log alone. */
  readonly cause?: unknown;
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

/** One line per call. Its fields are all that is ever logged of one: nothing that a client wrote, but the id it proved. */
export function logCall(log: Log, call: LiveCall, outcome: Outcome, ms: number): void {
  const method = call.route.name;
  if (outcome.code === "OK" && QUIET_WHEN_OK.has(method)) return;
  const fields = {
    method,
    code: outcome.code,
    reason: outcome.reason,
    ms: Math.round(ms * 10) / 10,
    caller: callerId(call.caller),
  };
  if (outcome.reason !== undefined && ALARMS.has(outcome.reason)) log.error("call failed", fields, outcome.cause);
  else log.info("call", fields);
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
