import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { DomainError, type Reason } from "../../src/lib/errors.ts";
import { codeName, ERRORS, toConnectError, toRpcStatus } from "../../src/rpc/errors.ts";

const REASONS = Object.keys(ERRORS) as Reason[];

test.each(REASONS)("%s has its code, its text and exactly one ErrorInfo, as an error and as a status", (reason) => {
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

test.each([
  ["an Error", new Error("password=hunter2")],
  ["a text", "hunter2"],
  ["nothing", undefined],
  ["an object that looks like ours", { reason: "KEY_NOT_FOUND", message: "hunter2" }],
])("%s that nobody expected becomes INTERNAL without a word of it", (_name, error) => {
  const connectError = toConnectError(error);
  expect([connectError.code, connectError.rawMessage]).toEqual([Code.Internal, "internal error"]);
  expect(connectError.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL", metadata: {} }]);
  const status = toRpcStatus(error);
  const bytes = status.details!.map(({ value }) => Buffer.from(value!).toString("latin1"));
  expect(status.message + bytes.join()).not.toContain("hunter2");
});

test.each([
  ["a TimeoutError", new DOMException("x", "TimeoutError"), Code.DeadlineExceeded],
  ["an AbortError", new DOMException("x", "AbortError"), Code.Canceled],
  [
    "an AbortError whose cause is our deadline",
    Object.assign(new Error("aborted", { cause: new DomainError("DEADLINE_EXCEEDED", "late") }), {
      name: "AbortError",
    }),
    Code.DeadlineExceeded,
  ],
])("%s keeps its meaning", (_name, error, code) => {
  expect(toConnectError(error).code).toBe(code);
});

test("what is a ConnectError already stays the same", () => {
  const error = toConnectError(new DomainError("KEY_NOT_FOUND", "none"));
  expect(toConnectError(error)).toBe(error);
  expect(error).toBeInstanceOf(ConnectError);
});

test.each([
  [0, "1"],
  [1, "1"],
  [1000, "1"],
  [1001, "2"],
])("a retry after %i ms is Retry-After %s: never too early, never at once", (retryAfterMs, header) => {
  const error = toConnectError(new DomainError("TOO_MANY_ATTEMPTS", "wait", { retryAfterMs }));
  expect(error.metadata.get("retry-after")).toBe(header);
});
