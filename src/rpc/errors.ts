/**
 * ERRORS. From a DomainError to the error that a client receives: the one place where a reason meets a gRPC code.
 *
 * A room throws a DomainError at any depth. It reaches the client with:
 *   - the gRPC code of its reason, and the reason itself in google.rpc.ErrorInfo, with its metadata;
 *   - its text, for a person;
 *   - a BadRequest detail for the violations of an INVALID_ARGUMENT, and a QuotaFailure detail for a quota;
 *   - a RetryInfo detail and `retry-after`, if waiting helps.
 * An answer can carry the same as data (`toRpcStatus`), as BatchVerifyKeys does for each of its requests.
 *
 * On the way the error loses:
 *   - its cause, its stack and its `untold` facts: they go to the log and the audit trail only;
 *   - violations, if its code is not INVALID_ARGUMENT;
 *   - all that is longer than error-size.ts allows.
 * An error of any other class loses all of this: the client receives INTERNAL and a fixed text. So does a DomainError
 * that another error has as its cause. The exceptions are AbortError and TimeoutError: the client receives the end of
 * the call that they report.
 */
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, type Duration } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { Code, CodeSchema } from "../gen/google/rpc/code_pb.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";
import type { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { constantError, DomainError, type Reason } from "../lib/errors.ts";
import { boundedText, boundedViolations } from "./error-size.ts";
import { readingError } from "./reading-error.ts";

/** The gRPC code of a reason, and its sentence in docs/ERRORS.md. */
export interface ErrorRow {
  readonly code: GrpcCode;
  readonly doc: string;
}

/** Name of a gRPC code except OK, as google.rpc.Code spells it. */
export type GrpcCode = Exclude<keyof typeof Code, "OK">;

/** The `domain` of each google.rpc.ErrorInfo that this service sends. */
export const ERROR_DOMAIN = "latchkey";

/** Every reason with its gRPC code. docs/ERRORS.md is generated from this table. */
export const ERRORS: Readonly<Record<Reason, ErrorRow>> = {
  INVALID_FIELD: row(
    "INVALID_ARGUMENT",
    "A field of the request is wrong. The BadRequest detail names each one, at most the first 16.",
  ),
  REQUEST_ID_REUSED: row("INVALID_ARGUMENT", "This request_id was used within 24 h with other parameters."),
  MESSAGE_INVALID: row(
    "INVALID_ARGUMENT",
    "The request could not be decoded: malformed JSON, an unknown field in it, or a bad timeout. The code is INTERNAL for protobuf that cannot be parsed or contains invalid UTF-8, as gRPC defines it.",
  ),
  HTTP_PATH_NOT_FOUND: row("NOT_FOUND", "REST: no resource has this path. The status is 404."),
  HTTP_METHOD_NOT_ALLOWED: row(
    "UNIMPLEMENTED",
    "REST: the resource has no such method. The status is 405, and the header `Allow` has its methods.",
  ),
  HTTP_CONTENT_NOT_ALLOWED: row(
    "INVALID_ARGUMENT",
    "REST: the body is not JSON by its Content-Type, or has a Content-Encoding. The status is 415.",
  ),
  CREDENTIAL_MISSING: row("UNAUTHENTICATED", "This method needs a credential, and the call has none."),
  CREDENTIAL_INVALID: row("UNAUTHENTICATED", "The credential is malformed, unknown, expired or ended."),
  LOGIN_FAILED: row("UNAUTHENTICATED", "E-mail address and password do not match an account that may log in."),
  PASSWORD_WRONG: row("UNAUTHENTICATED", "The current password is wrong."),
  REFRESH_TOKEN_INVALID: row(
    "UNAUTHENTICATED",
    "The refresh token is malformed, unknown, expired, ended or used again.",
  ),
  RESET_TOKEN_INVALID: row("UNAUTHENTICATED", "The reset token is malformed, unknown, expired or used."),
  ACCESS_DENIED: row("PERMISSION_DENIED", "This caller may not call this method."),
  OWNER_NOT_ALLOWED: row("PERMISSION_DENIED", "This caller may not act for that owner."),
  TIER_NOT_GRANTED: row("PERMISSION_DENIED", "The tier is above what was granted to the owner."),
  SCOPE_NOT_GRANTED: row("PERMISSION_DENIED", "A scope is beyond what was granted to the owner."),
  FIELD_NOT_ALLOWED: row("PERMISSION_DENIED", "This caller may not set a field of the request."),
  KEY_RESTRICTED: row(
    "PERMISSION_DENIED",
    "A service issued or restricted this key; its owner can only tighten it further.",
  ),
  REGISTRATION_CLOSED: row("PERMISSION_DENIED", "Accounts are created by operators."),
  KEY_NOT_FOUND: row("NOT_FOUND", "No such key, or not the caller's."),
  USER_NOT_FOUND: row("NOT_FOUND", "No such user."),
  SESSION_NOT_FOUND: row("NOT_FOUND", "No such session, or not the caller's."),
  SERVICE_CREDENTIAL_NOT_FOUND: row("NOT_FOUND", "No such service credential."),
  SIGNING_KEY_NOT_FOUND: row("NOT_FOUND", "No such signing key."),
  HEALTH_SERVICE_NOT_FOUND: row("NOT_FOUND", "The health service knows no service of this name."),
  EMAIL_TAKEN: row("ALREADY_EXISTS", "An account has this e-mail address."),
  CERTIFICATE_NAME_TAKEN: row(
    "ALREADY_EXISTS",
    "Another credential that has not ended has this certificate name. The metadata has its credential_id.",
  ),
  REQUEST_ID_USED: row(
    "ALREADY_EXISTS",
    "This request was carried out before. The metadata has the id. The secret is not shown again.",
  ),
  KEY_ENDED: row("FAILED_PRECONDITION", "The key is revoked or expired."),
  USER_DISABLED: row("FAILED_PRECONDITION", "The user is disabled."),
  LAST_ADMIN_CREDENTIAL: row("FAILED_PRECONDITION", "This is the last usable credential with the scope admin."),
  ETAG_MISMATCH: row("ABORTED", "The resource changed since the etag was read."),
  KEY_QUOTA_EXCEEDED: row("RESOURCE_EXHAUSTED", "The owner has as many keys as allowed."),
  SECRET_QUOTA_EXCEEDED: row("RESOURCE_EXHAUSTED", "The key has as many live secrets as allowed."),
  TOO_MANY_ATTEMPTS: row("RESOURCE_EXHAUSTED", "Too many attempts. RetryInfo says when to try again."),
  TOO_MANY_CHANGES: row(
    "RESOURCE_EXHAUSTED",
    "The caller made as many changes as it may make in a minute. RetryInfo says when to try again.",
  ),
  OVERLOADED: row(
    "RESOURCE_EXHAUSTED",
    "The service has no capacity for this call now, mostly because the same caller has many calls in progress. RetryInfo says when to try again.",
  ),
  MESSAGE_TOO_LARGE: row("RESOURCE_EXHAUSTED", "The request message is larger than allowed."),
  DATABASE_UNAVAILABLE: row("UNAVAILABLE", "The database is unreachable. Nothing was decided."),
  LIMITS_UNAVAILABLE: row(
    "UNAVAILABLE",
    "The store of rate limits is unreachable. Nothing was reset. Calls that are limited never fail with this reason.",
  ),
  MASTER_KEY_MISSING: row("UNAVAILABLE", "This process lacks a master key that stored data needs."),
  CONTENTION: row(
    "ABORTED",
    "Others changed the same thing at the same time, or held its lock for too long. Nothing was changed; try again.",
  ),
  DEADLINE_EXCEEDED: row(
    "DEADLINE_EXCEEDED",
    "The call did not end before its deadline. It may have taken effect or not.",
  ),
  CANCELLED: row("CANCELLED", "The client cancelled the call."),
  SHUTTING_DOWN: row("UNAVAILABLE", "This process is shutting down. Another one will answer."),
  NOT_IMPLEMENTED: row("UNIMPLEMENTED", "The method, the encoding or the form of the call is not supported."),
  INTERNAL: row("INTERNAL", "A fault of the service. Its log says what failed."),
};

/** The reasons that QuotaFailure describes, each with the metadata that names the owner of the quota. */
const QUOTA_SUBJECTS: Partial<Record<Reason, string>> = {
  KEY_QUOTA_EXCEEDED: "owner_id",
  SECRET_QUOTA_EXCEEDED: "key_id",
};

const CODE_NAMES: ReadonlyMap<number, string> = new Map(CodeSchema.values.map(({ number, name }) => [number, name]));

const INTERNAL_TEXT = "internal error";

/**
 * The error that a caller receives. The caller learns nothing of an error that is not a DomainError, because its text
 * may quote a driver, a statement or a secret. An AbortError of a deadline or of a cancelled call keeps its meaning.
 * RetryInfo comes with `retry-after` in whole seconds, rounded up (RFC 9110, 10.2.3): a header in Connect, a trailer in
 * gRPC.
 */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const domainError = toDomainError(error);
  if (!Object.isFrozen(domainError)) return newConnectError(domainError, error);
  let kept = CONSTANT_ERRORS.get(domainError);
  if (kept === undefined) {
    kept = Object.freeze(newConnectError(domainError, domainError));
    CONSTANT_ERRORS.set(domainError, kept);
  }
  return kept;
}

/** The errors of `constantError` in this form. Frozen, too. */
const CONSTANT_ERRORS = new WeakMap<DomainError, ConnectError>();

function newConnectError(domainError: DomainError, cause: unknown): ConnectError {
  const { retryAfterMs } = domainError;
  const headers = retryAfterMs === undefined ? undefined : { "retry-after": retryAfterSeconds(retryAfterMs) };
  return new ConnectError(textOf(domainError), numberOf(domainError), headers, detailsOf(domainError), cause);
}

/** The value of `retry-after`: whole seconds, rounded up, at least 1. */
export function retryAfterSeconds(retryAfterMs: number): string {
  return String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
}

/** The same error as a google.rpc.Status, for answers that carry errors as data. */
export function toRpcStatus(error: unknown): MessageInitShape<typeof StatusSchema> {
  const domainError = toDomainError(error);
  return {
    code: numberOf(domainError),
    message: textOf(domainError),
    details: detailsOf(domainError).map(({ desc, value }) => anyPack(desc, create(desc, value))),
  };
}

/**
 * The DomainError that a caller receives: the error itself, the end of the call that it reports, or an internal fault.
 */
export function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  if (error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError")) {
    if (error.cause instanceof DomainError) return error.cause;
    if (error.name === "TimeoutError") return new DomainError("DEADLINE_EXCEEDED", "deadline exceeded");
    return new DomainError("CANCELLED", "cancelled");
  }
  return new DomainError("INTERNAL", INTERNAL_TEXT, { cause: error });
}

/**
 * The meaning of an error that Connect's own codec threw: a request that it could not decode (`whileReading`), or an
 * answer that it could not encode, which is our fault. The texts are ours, because the codec's texts quote the message,
 * and with it passwords and keys. Returns the DomainError. Also changes the text and details of `error` in place,
 * because Connect is about to write that very object.
 */
export function amendCodecError(error: ConnectError, whileReading: boolean, isJson: boolean): DomainError {
  const domainError = whileReading ? readingError(error) : new DomainError("INTERNAL", INTERNAL_TEXT);
  const writable: { -readonly [K in keyof ConnectError]: ConnectError[K] } = error;
  writable.rawMessage = textOf(domainError);
  writable.message = writable.rawMessage;
  writable.details = detailsOf(domainError);
  if (!whileReading) writable.code = Code.INTERNAL;
  // INTERNAL for a request is gRPC's rule for unparsable protobuf alone.
  else if (isJson && error.code === Code.INTERNAL) writable.code = Code.INVALID_ARGUMENT;
  return domainError;
}

/**
 * An error for a request that could not be decoded, in the form in which Connect's codec throws it. `amendCodecError`
 * replaces its text and adds details when the call fails, so that they are the same on every lane.
 *
 * @param text of the JSON reader, from which `amendCodecError` learns the field
 */
export function codecError(code: GrpcCode, text = ""): ConnectError {
  return new ConnectError(text, Code[code]);
}

/** The name of a gRPC code in logs and metrics, such as `NOT_FOUND` for 5. */
export function codeName(code: number): string {
  return CODE_NAMES.get(code) ?? "UNKNOWN";
}

interface Detail<Desc extends DescMessage = DescMessage> {
  readonly desc: Desc;
  readonly value: MessageInitShape<Desc>;
}

function detailsOf(error: DomainError): Detail[] {
  const { reason, metadata, violations, retryAfterMs } = error;
  const details = [detail(ErrorInfoSchema, { domain: ERROR_DOMAIN, reason, metadata: { ...metadata } })];
  if (violations.length > 0 && ERRORS[reason].code === "INVALID_ARGUMENT") {
    details.push(detail(BadRequestSchema, { fieldViolations: boundedViolations(violations) }));
  }
  const quotaSubject = QUOTA_SUBJECTS[reason];
  if (quotaSubject !== undefined) {
    const violation = { subject: metadata[quotaSubject] ?? "", description: textOf(error) };
    details.push(detail(QuotaFailureSchema, { violations: [violation] }));
  }
  if (retryAfterMs !== undefined) details.push(detail(RetryInfoSchema, { retryDelay: duration(retryAfterMs) }));
  return details;
}

function detail<Desc extends DescMessage>(desc: Desc, value: MessageInitShape<Desc>): Detail {
  return { desc, value };
}

function duration(ms: number): Omit<Duration, "$typeName" | "$unknown"> {
  const wholeMs = Math.max(0, Math.ceil(ms));
  return { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1_000_000 };
}

function numberOf(error: DomainError): number {
  return Code[ERRORS[error.reason].code];
}

function textOf(error: DomainError): string {
  return error.reason === "INTERNAL" ? INTERNAL_TEXT : boundedText(error.message);
}

function row(code: GrpcCode, doc: string): ErrorRow {
  return { code, doc };
}

/** The error of a call that is refused because the same caller already uses its whole share. */
export const TOO_MANY_CALLS = constantError(
  "OVERLOADED",
  "the server has no capacity for this call, mostly because this caller has many in progress; try again in 1 s",
  { retryAfterMs: 1000 },
);
