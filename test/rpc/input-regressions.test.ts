/** Inputs that the service once handled wrongly. Each test has the name of its input. */
import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { SPEAKS_REST } from "../support/lane.ts";
import { bearer, postJson } from "../support/post-json.ts";

describe("hostile input", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    postJson(service.address, path, body, { ...bearer(service.admin), ...headers });

  it("in one request of a batch over JSON fails that request, and not the batch", async () => {
    const { status, text } = await post("KeyService/BatchVerifyKeys", '{"requests":[{"cost":-1},{"apiKey":"x"}]}');
    expect(status).toBe(200);
    expect(text).toContain("INVALID_FIELD");
    expect(text).toContain("VERDICT_INVALID");
  });

  it("with NUL in a list's filter is INVALID_ARGUMENT, not an outage", async () => {
    const error = await errorOf(service.client(KeyService, service.admin).listKeys({ ownerId: "\0" }));
    expect(error).toMatchObject({ code: Code.InvalidArgument, fields: ["owner_id"] });
  });

  it("with a truncated gzip body is INVALID_ARGUMENT", async () => {
    const cut = gzipSync('{"email":"a@example.com"}').subarray(0, 15);
    const { status, error } = await post("AuthService/Login", cut, { "content-encoding": "gzip" });
    // REST has no compressed bodies.
    expect([status, error?.code]).toEqual([SPEAKS_REST ? 415 : 400, "invalid_argument"]);
  });

  it.each([
    ["AuthService/Register", '{"email":"x\\ud800@example.com"}', "email"],
    ["KeyService/VerifyKey", '{"cost":99999999999}', "cost"],
    ["KeyService/VerifyKey", '{"limits":[{"perMinute":"many"}]}', "per_minute"],
    ["KeyService/UpdateKey", '{"key":{"scopes":["a",3]}}', "scopes"],
  ])(
    "of %s with a JSON value of another type is refused with the field's name, and without its value",
    async (path, body, field) => {
      const { status, error } = await post(path, body);
      expect([status, error?.code, error?.message]).toEqual([
        400,
        "invalid_argument",
        "the request message could not be decoded; check its encoding and the types of its fields",
      ]);
      expect(error?.violations).toMatchObject([{ field, description: "must have a value of the field's type" }]);
    },
  );

  it.each(["/x/\0", "/x/a\\..\\b", "/x/..;/a", "/x/%252e%252e/b", "/x/%5c"])(
    "with the ambiguous method %j never matches a glob",
    async (method) => {
      const { apiKey } = await service.newKey({ allowedMethods: ["/x/**"] });
      const verify = service.client(KeyService, service.admin).verifyKey({ apiKey, method });
      const outcome = await verify.then(
        ({ verdict }) => verdict,
        (error) => error.code,
      );
      expect([Verdict.METHOD_NOT_ALLOWED, Code.InvalidArgument]).toContain(outcome);
    },
  );

  it("with NUL in several fields of VerifyKey is refused with the name of each field", async () => {
    const request = { method: "\0", allowedTiers: ["\0"], environment: "\0" };
    const error = await errorOf(service.client(KeyService, service.admin).verifyKey(request));
    expect(error.fields).toEqual(["method", "allowed_tiers[0]", "environment"]);
  });

  it("with two entries that mean the same is refused", async () => {
    const admin = service.client(AdminService, service.admin);
    expect((await errorOf(admin.createUser({ email: "x@y.example", scopes: ["a", "a"] }))).fields).toEqual(["scopes"]);
    const { keys } = await service.newPerson();
    const allowedIps = ["2001:db8::1", "2001:0db8::0001"];
    expect((await errorOf(keys.issueKey({ name: "x", allowedIps }))).fields).toEqual(["allowed_ips"]);
  });

  it("with text that is displayed backwards is refused", async () => {
    const { keys } = await service.newPerson();
    expect((await errorOf(keys.issueKey({ name: "a\u202eb" }))).fields).toEqual(["name"]);
    expect((await keys.issueKey({ name: "क्‍ष 👩‍🔧" })).key?.name).toBe("क्‍ष 👩‍🔧");
  });
});
