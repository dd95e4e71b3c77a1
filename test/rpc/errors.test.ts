import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { DomainError, type Reason } from "../../src/lib/errors.ts";
import { codeName, ERRORS, toConnectError, toRpcStatus } from "../../src/rpc/errors.ts";
import { errorTrailers } from "../../src/rpc/lanes/grpc-status.ts";

const REASONS = Object.keys(ERRORS) as Reason[];

/** The expected code of each reason, written a second time by hand: the table in rpc/errors.ts is under test. */
const CODES: Readonly<Record<string, readonly Reason[]>> = {
  INVALID_ARGUMENT: ["INVALID_FIELD", "REQUEST_ID_REUSED", "MESSAGE_INVALID", "HTTP_CONTENT_NOT_ALLOWED"],
  UNAUTHENTICATED: [
    ...(["CREDENTIAL_MISSING", "CREDENTIAL_INVALID", "LOGIN_FAILED", "PASSWORD_WRONG"] as const),
    ...(["REFRESH_TOKEN_INVALID", "RESET_TOKEN_INVALID"] as const),
  ],
  PERMISSION_DENIED: [
    ...(["ACCESS_DENIED", "OWNER_NOT_ALLOWED", "TIER_NOT_GRANTED", "SCOPE_NOT_GRANTED"] as const),
    ...(["FIELD_NOT_ALLOWED", "KEY_RESTRICTED", "REGISTRATION_CLOSED"] as const),
  ],
  NOT_FOUND: [
    ...(["KEY_NOT_FOUND", "USER_NOT_FOUND", "SESSION_NOT_FOUND", "SERVICE_CREDENTIAL_NOT_FOUND"] as const),
    ...(["SIGNING_KEY_NOT_FOUND", "HEALTH_SERVICE_NOT_FOUND", "HTTP_PATH_NOT_FOUND"] as const),
  ],
  ALREADY_EXISTS: ["CERTIFICATE_NAME_TAKEN", "EMAIL_TAKEN", "REQUEST_ID_USED"],
  FAILED_PRECONDITION: ["KEY_ENDED", "USER_DISABLED", "LAST_ADMIN_CREDENTIAL"],
  ABORTED: ["ETAG_MISMATCH", "CONTENTION"],
  RESOURCE_EXHAUSTED: [
    ...(["KEY_QUOTA_EXCEEDED", "SECRET_QUOTA_EXCEEDED", "TOO_MANY_ATTEMPTS"] as const),
    ...(["TOO_MANY_CHANGES", "OVERLOADED", "MESSAGE_TOO_LARGE"] as const),
  ],
  UNAVAILABLE: ["DATABASE_UNAVAILABLE", "LIMITS_UNAVAILABLE", "MASTER_KEY_MISSING", "SHUTTING_DOWN"],
  DEADLINE_EXCEEDED: ["DEADLINE_EXCEEDED"],
  CANCELLED: ["CANCELLED"],
  UNIMPLEMENTED: ["NOT_IMPLEMENTED", "HTTP_METHOD_NOT_ALLOWED"],
  INTERNAL: ["INTERNAL"],
};

it("each reason has its expected code, so that clients never take a refusal for an outage or the reverse", () => {
  const codes = REASONS.map((reason): [string, Reason] => [ERRORS[reason].code, reason]);
  expect(codes.sort()).toEqual(
    Object.entries(CODES)
      .flatMap(([code, reasons]) => reasons.map((reason) => [code, reason]))
      .sort(),
  );
});

it.each(REASONS)("%s keeps its code, its text and exactly one ErrorInfo, as an error and as a status", (reason) => {
  const error = new DomainError(reason, "what happened", { metadata: { key_id: "key_1" } });
  const connectError = toConnectError(error);
  const text = reason === "INTERNAL" ? "internal error" : "what happened";
  expect(codeName(connectError.code)).toBe(ERRORS[reason].code);
  expect(connectError.rawMessage).toBe(text);
  const info = { reason, domain: "latchkey", metadata: { key_id: "key_1" } };
  expect(connectError.findDetails(ErrorInfoSchema)).toMatchObject([info]);

  const status = toRpcStatus(error);
  expect(status).toMatchObject({ code: connectError.code, message: text });
  const infos = status.details!.map((detail) => anyUnpack(detail as never, ErrorInfoSchema)).filter(Boolean);
  expect(infos).toMatchObject([info]);
});

it.each(REASONS)("%s stays below 6 KiB on the wire, however long its texts are", (reason) => {
  const violations = Array.from({ length: 1000 }, () => ({ field: "漢".repeat(500), description: "🗝".repeat(500) }));
  const error = new DomainError(reason, "a漢🗝".repeat(5000), { violations, retryAfterMs: 1 });
  const trailers = errorTrailers(toConnectError(error));
  const bytes = Object.entries(trailers).reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  expect(bytes).toBeLessThan(6 * 1024);
  // The text is cut between two characters.
  expect(decodeURIComponent(trailers["grpc-message"]!)).toMatch(/^(internal error|(a漢🗝)+a?漢?…)$/u);
});

it.each([
  ["an Error", new Error("password=hunter2")],
  ["a text", "hunter2"],
  ["nothing", undefined],
  ["an object that looks like a DomainError", { reason: "KEY_NOT_FOUND", message: "hunter2" }],
])("%s becomes INTERNAL, and none of its text is sent", (_name, error) => {
  const connectError = toConnectError(error);
  expect([connectError.code, connectError.rawMessage]).toEqual([Code.Internal, "internal error"]);
  expect(connectError.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL", metadata: {} }]);
  const status = toRpcStatus(error);
  const bytes = status.details!.map(({ value }) => Buffer.from(value!).toString("latin1"));
  expect(status.message + bytes.join()).not.toContain("hunter2");
});

it.each([
  ["a TimeoutError", new DOMException("x", "TimeoutError"), Code.DeadlineExceeded],
  ["an AbortError", new DOMException("x", "AbortError"), Code.Canceled],
  [
    "an AbortError whose cause is our deadline",
    Object.assign(new Error("aborted", { cause: new DomainError("DEADLINE_EXCEEDED", "late") }), {
      name: "AbortError",
    }),
    Code.DeadlineExceeded,
  ],
])("%s keeps its meaning as the end of a call", (_name, error, code) => {
  expect(toConnectError(error).code).toBe(code);
});

it("a ConnectError stays the same object", () => {
  const error = toConnectError(new DomainError("KEY_NOT_FOUND", "none"));
  expect(toConnectError(error)).toBe(error);
  expect(error).toBeInstanceOf(ConnectError);
});

it.each([
  [0, "1"],
  [1, "1"],
  [1000, "1"],
  [1001, "2"],
])("a retry after %i ms is sent as Retry-After %s: never too early, and never 0", (retryAfterMs, header) => {
  const error = toConnectError(new DomainError("TOO_MANY_ATTEMPTS", "wait", { retryAfterMs }));
  expect(error.metadata.get("retry-after")).toBe(header);
});
