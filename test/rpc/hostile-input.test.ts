/** What once came back wrong, each named after it. */
import { gzipSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BadRequestSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("hostile input", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  async function post(path: string, body: string | Uint8Array, headers: Record<string, string> = {}) {
    const response = await fetch(`http://${service.address}/latchkey.v1.${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${service.admin}`, ...headers },
      body: body as RequestInit["body"] & {},
    });
    return { status: response.status, text: await response.text() };
  }

  it("in one request of a batch over JSON is that request's error, and not the batch's end", async () => {
    const { status, text } = await post("KeyService/BatchVerifyKeys", '{"requests":[{"cost":-1},{"apiKey":"x"}]}');
    expect(status).toBe(200);
    expect(text).toContain("INVALID_FIELD");
    expect(text).toContain("VERDICT_INVALID");
  });

  it("of NUL in a list's filter is the caller's mistake, not an outage", async () => {
    const error = await errorOf(service.client(KeyService, service.admin).listKeys({ ownerId: "\0" }));
    expect(error).toMatchObject({ code: Code.InvalidArgument, fields: ["owner_id"] });
  });

  it("of a gzip body that ends too soon is the caller's mistake", async () => {
    const cut = gzipSync('{"email":"a@example.com"}').subarray(0, 15);
    const { status, text } = await post("AuthService/Login", cut, { "content-encoding": "gzip" });
    expect([status, JSON.parse(text).code]).toEqual([400, "invalid_argument"]);
  });

  it.each([
    ["AuthService/Register", '{"email":"x\\ud800@example.com"}', "email"],
    ["KeyService/VerifyKey", '{"cost":99999999999}', "cost"],
    ["KeyService/VerifyKey", '{"limits":[{"perMinute":"many"}]}', "per_minute"],
    ["KeyService/UpdateKey", '{"key":{"scopes":["a",3]}}', "scopes"],
  ])("of %s that is JSON of another shape names the field, and repeats nothing of it", async (path, body, field) => {
    const { status, text } = await post(path, body);
    const { code, message, details } = JSON.parse(text);
    expect([status, code, message]).toEqual([400, "invalid_argument", "the request message could not be read"]);
    const bytes = details.find(({ type }: { type: string }) => type === "google.rpc.BadRequest").value;
    const { fieldViolations } = fromBinary(BadRequestSchema, Buffer.from(bytes, "base64"));
    expect(fieldViolations).toMatchObject([{ field, description: "could not be read" }]);
  });

  it.each(["/x/\0", "/x/a\\..\\b", "/x/..;/a", "/x/%252e%252e/b", "/x/%5c"])(
    "of the method %j, which can be read in two ways, is never let in by a glob",
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

  it("of NUL in VerifyKey's words names each field", async () => {
    const request = { method: "\0", allowedTiers: ["\0"], environment: "\0" };
    const error = await errorOf(service.client(KeyService, service.admin).verifyKey(request));
    expect(error.fields).toEqual(["method", "allowed_tiers[0]", "environment"]);
  });

  it("of entries that mean the same twice is refused", async () => {
    const admin = service.client(AdminService, service.admin);
    expect((await errorOf(admin.createUser({ email: "x@y.example", scopes: ["a", "a"] }))).fields).toEqual(["scopes"]);
    const { keys } = await service.newPerson();
    const allowedIps = ["2001:db8::1", "2001:0db8::0001"];
    expect((await errorOf(keys.issueKey({ name: "x", allowedIps }))).fields).toEqual(["allowed_ips"]);
  });

  it("of text that shows itself backwards is refused", async () => {
    const { keys } = await service.newPerson();
    expect((await errorOf(keys.issueKey({ name: "a\u202eb" }))).fields).toEqual(["name"]);
    expect((await keys.issueKey({ name: "क्‍ष 👩‍🔧" })).key?.name).toBe("क्‍ष 👩‍🔧");
  });
});
