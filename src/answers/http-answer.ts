import { type Decision, type Denial, REFUSALS } from "./decision.ts";
import { type Header, rateLimitFields, secondsOf } from "./rate-limit-fields.ts";

/** The answer to a request that is not served. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: readonly Header[];
  /** JSON (RFC 9457). */
  readonly body: string;
}

/** Characters of a scope in a challenge (RFC 6749, 3.3). */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** The fields that every answer to a decided request has, the good ones too. */
export function decisionFields(decision: Decision, realm: string): Header[] {
  const fields = rateLimitFields(decision.windows);
  if (decision.admitted) return fields;
  const challenge = challengeOf(decision, realm);
  if (challenge !== undefined) fields.push(["WWW-Authenticate", challenge]);
  const { code, retryAfterMs } = decision;
  if ((code === "RATE_LIMITED" || code === "UNAVAILABLE") && retryAfterMs !== undefined) {
    fields.push(["Retry-After", String(Math.max(1, secondsOf(retryAfterMs)))]);
  }
  return fields;
}

/** A denial as problem details; `code` is the member for programs. */
export function httpAnswer(denial: Denial, realm: string): HttpAnswer {
  const { status, title } = REFUSALS[denial.code];
  return {
    status,
    headers: [
      ["Content-Type", "application/problem+json"],
      ["Cache-Control", "no-store"],
      ...decisionFields(denial, realm),
    ],
    body: JSON.stringify({ type: "about:blank", title, status, code: denial.code }),
  };
}

function challengeOf({ code, requiredScopes = [] }: Denial, realm: string): string | undefined {
  const { challenge } = REFUSALS[code];
  if (challenge === undefined) return undefined;
  const parts = [`realm="${realm.replace(/[\\"]/g, "\\$&")}"`];
  if (challenge !== "none") parts.push(`error="${challenge}"`);
  if (
    challenge === "insufficient_scope" &&
    requiredScopes.length > 0 &&
    requiredScopes.every((one) => SCOPE.test(one))
  ) {
    parts.push(`scope="${requiredScopes.join(" ")}"`);
  }
  return `Bearer ${parts.join(", ")}`;
}
