import type { Reason } from "../../lib/errors.ts";
import type { GrpcCode } from "../errors.ts";

/** The HTTP status of each code, as google/rpc/code.proto maps them. */
const BY_CODE: Readonly<Record<GrpcCode, number>> = {
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  UNAUTHENTICATED: 401,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
};

/** Reasons for which HTTP has a status of its own. */
const BY_REASON: Readonly<Partial<Record<Reason, number>>> = {
  MESSAGE_TOO_LARGE: 413,
  HTTP_METHOD_NOT_ALLOWED: 405,
  HTTP_CONTENT_NOT_ALLOWED: 415,
};

/** The HTTP status of an error. */
export function httpStatus(code: string, reason: string): number {
  return BY_REASON[reason as Reason] ?? BY_CODE[code as GrpcCode] ?? 500;
}
