import { type Denial, type GrpcCodeName, REFUSALS, type WindowState } from "./decision.ts";
import { decisionFields } from "./http-answer.ts";
import { type Header, windowLabel } from "./rate-limit-fields.ts";

/** The status of a call that is not served. */
export interface GrpcAnswer {
  readonly code: GrpcCodeName;
  readonly message: string;
  /** Names in lower case. */
  readonly metadata: readonly Header[];
  /** `reason` of google.rpc.ErrorInfo. */
  readonly reason: string;
  /** For google.rpc.RetryInfo. */
  readonly retryAfterMs: number | undefined;
  /** For google.rpc.QuotaFailure: the windows that refused the call; empty for other refusals. */
  readonly violations: readonly { readonly subject: string; readonly description: string }[];
}

/** A denial as a gRPC status: what `httpAnswer` says, in gRPC's own terms. */
export function grpcAnswer(denial: Denial, realm: string): GrpcAnswer {
  const { grpc, title } = REFUSALS[denial.code];
  const waits = denial.code === "RATE_LIMITED" || denial.code === "UNAVAILABLE";
  return {
    code: grpc,
    message: title,
    metadata: grpcMetadata(decisionFields(denial, realm)),
    reason: denial.code,
    retryAfterMs: waits ? denial.retryAfterMs : undefined,
    violations: denial.code === "RATE_LIMITED" ? fullest(denial.windows).map(violationOf) : [],
  };
}

/** Header fields as metadata. */
export function grpcMetadata(fields: readonly Header[]): Header[] {
  return fields.map(([name, value]) => [name.toLowerCase(), value]);
}

/** The windows without room. A call with a cost may be refused while there is some: then all of them. */
function fullest(windows: readonly WindowState[]): readonly WindowState[] {
  const full = windows.filter(({ remaining }) => remaining === 0);
  return full.length > 0 ? full : windows;
}

function violationOf(window: WindowState): GrpcAnswer["violations"][number] {
  return { subject: windowLabel(window), description: `at most ${window.limit} in any ${window.windowMs / 1000} s` };
}
