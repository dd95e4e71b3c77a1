/**
 * ANSWERS: how a decision about a request looks on the wire. Every door that protects a route gives the same
 * answer for the same facts, because all of them ask this room.
 *
 *   decision.ts              the decision, and the table of refusals
 *   presented-credential.ts  the credential in a request's headers
 *   request-facts.ts         the method and the address that a key is judged by
 *   rate-limit-fields.ts     the state of rate limits as header fields
 *   http-answer.ts           a decision as an HTTP answer
 *   grpc-answer.ts           a decision as a gRPC status
 *
 * The room is pure: it imports nothing outside of itself except node:net, and knows no framework and no message. The
 * package @latchkey/client takes these files into its build.
 */

/** The state of one window of a rate limit after a decision. */
export interface WindowState {
  /** The name of a named limit; empty for the key's own limits. */
  readonly name: string;
  /** A minute or a day. */
  readonly windowMs: number;
  readonly limit: number;
  /** Never negative. */
  readonly remaining: number;
  /** Time until `remaining` equals `limit`, if no call follows. */
  readonly resetAfterMs: number;
}

/** A verdict of VerifyKey that refuses. UNKNOWN is a verdict that this version does not know. */
export type RefusedVerdict =
  | "INVALID"
  | "DISABLED"
  | "REVOKED"
  | "EXPIRED"
  | "OWNER_DISABLED"
  | "SCOPE_MISSING"
  | "TIER_NOT_ALLOWED"
  | "IP_NOT_ALLOWED"
  | "METHOD_NOT_ALLOWED"
  | "RATE_LIMITED"
  | "CREDITS_EXHAUSTED"
  | "UNKNOWN";

/** Why a request is not served: a verdict of VerifyKey, or a fault that a door found by itself. */
export type Refusal =
  | RefusedVerdict
  | "CREDENTIAL_MISSING"
  | "CREDENTIAL_AMBIGUOUS"
  | "TOKEN_INVALID"
  | "UNAVAILABLE"
  | "CONFIGURATION";

/** A decision about a request. */
export type Decision = Admission | Denial;

export interface Admission {
  readonly admitted: true;
  /** The windows that the request was counted in; empty if none. */
  readonly windows: readonly WindowState[];
}

export interface Denial {
  readonly admitted: false;
  readonly code: Refusal;
  /** The windows that decided; empty unless a limit was judged. */
  readonly windows: readonly WindowState[];
  /** With RATE_LIMITED and UNAVAILABLE: the wait after which a retry may succeed. Absent where no wait helps. */
  readonly retryAfterMs?: number | undefined;
  /** With SCOPE_MISSING: the scopes that the route needs. */
  readonly requiredScopes?: readonly string[] | undefined;
}

/** Names of gRPC codes that a denial can have. */
export type GrpcCodeName = "UNAUTHENTICATED" | "PERMISSION_DENIED" | "RESOURCE_EXHAUSTED" | "UNAVAILABLE" | "INTERNAL";

/** The form of one refusal over HTTP and gRPC. */
export interface RefusalRow {
  readonly status: 401 | 403 | 429 | 500 | 503;
  readonly grpc: GrpcCodeName;
  /** A sentence for a person. It is the same for each request with this refusal (RFC 9457, 3.1.3). */
  readonly title: string;
  /** `error` of the Bearer challenge (RFC 6750, 3.1). `none`: a challenge without an error. Absent: no challenge. */
  readonly challenge?: "none" | "invalid_request" | "invalid_token" | "insufficient_scope";
}

export const REFUSALS: Readonly<Record<Refusal, RefusalRow>> = {
  CREDENTIAL_MISSING: unauthenticated("This request needs a credential.", "none"),
  CREDENTIAL_AMBIGUOUS: unauthenticated("The request has more than one credential.", "invalid_request"),
  TOKEN_INVALID: unauthenticated("The access token is not valid.", "invalid_token"),
  INVALID: unauthenticated("The API key is not valid.", "invalid_token"),
  DISABLED: unauthenticated("The API key is disabled.", "invalid_token"),
  REVOKED: unauthenticated("The API key is revoked.", "invalid_token"),
  EXPIRED: unauthenticated("The API key has expired.", "invalid_token"),
  OWNER_DISABLED: denied("The owner of the API key is disabled."),
  SCOPE_MISSING: { ...denied("The API key lacks a scope."), challenge: "insufficient_scope" },
  TIER_NOT_ALLOWED: denied("The tier of the API key may not do this."),
  IP_NOT_ALLOWED: denied("The API key may not be used from this address."),
  METHOD_NOT_ALLOWED: denied("The API key may not be used for this method."),
  RATE_LIMITED: { status: 429, grpc: "RESOURCE_EXHAUSTED", title: "A rate limit is reached." },
  CREDITS_EXHAUSTED: { status: 429, grpc: "RESOURCE_EXHAUSTED", title: "The credits of the API key are used up." },
  UNKNOWN: denied("The API key is refused."),
  UNAVAILABLE: { status: 503, grpc: "UNAVAILABLE", title: "The request could not be checked; try again." },
  CONFIGURATION: { status: 500, grpc: "INTERNAL", title: "The protection of this route is not configured correctly." },
};

/** A denial by a code alone. */
export function denial(code: Refusal): Denial {
  return { admitted: false, code, windows: [] };
}

function unauthenticated(title: string, challenge: NonNullable<RefusalRow["challenge"]>): RefusalRow {
  return { status: 401, grpc: "UNAUTHENTICATED", title, challenge };
}

function denied(title: string): RefusalRow {
  return { status: 403, grpc: "PERMISSION_DENIED", title };
}
