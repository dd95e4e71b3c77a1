import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import type { Status } from "../../src/gen/google/rpc/status_pb.ts";

/** The wait that is proposed where the service names none. */
const DEFAULT_RETRY_MS = 1000;

/** No verdict was reached. It says nothing about the key: answer 503, or try again after `retryAfterMs`. */
export class LatchkeyUnavailable extends Error {
  override readonly name = "LatchkeyUnavailable";
  readonly retryAfterMs: number;
  /** The service's reason (docs/ERRORS.md), such as `DATABASE_UNAVAILABLE`; undefined if the service did not answer. */
  readonly reason: string | undefined;
  /** Whether the service, or the data behind it, did not answer: UNAVAILABLE, a lost connection, or the deadline. */
  readonly isUnreachable: boolean;

  constructor(message: string, facts: UnavailableFacts = {}) {
    super(message, { cause: facts.cause });
    this.retryAfterMs = facts.retryAfterMs ?? DEFAULT_RETRY_MS;
    this.reason = facts.reason;
    this.isUnreachable = facts.isUnreachable ?? false;
  }
}

interface UnavailableFacts {
  readonly retryAfterMs?: number;
  readonly reason?: string | undefined;
  readonly isUnreachable?: boolean;
  readonly cause?: unknown;
}

/** The service refused this client's own credential, or there is none. It says nothing about the key. */
export class LatchkeyCredentialError extends Error {
  override readonly name = "LatchkeyCredentialError";

  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
  }
}

/** The service refused the request: a field of it is wrong, or it names a key that does not exist. */
export class LatchkeyRequestError extends Error {
  override readonly name = "LatchkeyRequestError";
  /** The service's reason (docs/ERRORS.md), such as `INVALID_FIELD` or `KEY_NOT_FOUND`. */
  readonly reason: string | undefined;
  /** The fields that are wrong, as the contract spells them. */
  readonly fields: readonly string[];

  constructor(
    message: string,
    facts: { reason?: string | undefined; fields?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, { cause: facts.cause });
    this.reason = facts.reason;
    this.fields = Object.freeze([...(facts.fields ?? [])]);
  }
}

/** Codes by which the service says that the request is at fault. */
const REQUEST_CODES: ReadonlySet<Code> = new Set([Code.InvalidArgument, Code.NotFound, Code.OutOfRange]);

/** Codes by which nothing answered: connect-node tells a lost connection as ABORTED. */
const UNREACHABLE_CODES: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Aborted]);

/** The error that callers of this client get for an error of a call. Errors of this client stay as they are. */
export function errorOf(error: unknown): Error {
  if (isOurs(error)) return error;
  const failure = ConnectError.from(error);
  const reason = failure.findDetails(ErrorInfoSchema)[0]?.reason;
  const retry = failure.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const fields = failure
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations.map((one) => one.field));
  const { code, rawMessage, cause = error } = failure;
  if (code === Code.Unauthenticated) {
    return new LatchkeyCredentialError(`the service refused the credential: ${rawMessage}`, { cause });
  }
  if (code === Code.PermissionDenied) {
    return new LatchkeyCredentialError(`the credential may not do this: ${rawMessage}; it needs the scope "verify"`, {
      cause,
    });
  }
  if (REQUEST_CODES.has(code) || reason === "MESSAGE_TOO_LARGE") {
    return new LatchkeyRequestError(rawMessage, { reason, fields, cause });
  }
  const retryAfterMs = retry === undefined ? undefined : Number(retry.seconds) * 1000 + Math.ceil(retry.nanos / 1e6);
  return new LatchkeyUnavailable(`no answer from the service: ${rawMessage}`, {
    reason,
    cause,
    isUnreachable: UNREACHABLE_CODES.has(code),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** The error of one item of a batch. */
export function errorOfStatus(status: Status): Error {
  const details = status.details.flatMap(detailOf);
  return errorOf(new ConnectError(status.message, status.code as Code, undefined, details));
}

function detailOf(any: Any) {
  for (const desc of [ErrorInfoSchema, RetryInfoSchema, BadRequestSchema]) {
    const value = anyUnpack(any, desc);
    if (value !== undefined) return [{ desc, value }];
  }
  return [];
}

function isOurs(error: unknown): error is Error {
  return (
    error instanceof LatchkeyUnavailable ||
    error instanceof LatchkeyCredentialError ||
    error instanceof LatchkeyRequestError
  );
}
