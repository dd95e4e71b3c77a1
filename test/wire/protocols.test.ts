import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { DomainError, invalidField } from "../../src/lib/errors.ts";
import { callGrpc, type FrontDoor, grpcClient, startFrontDoor } from "../support/front-door.ts";

let wire: FrontDoor;
let transports: Record<string, Transport>;

beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email }, call) => {
        switch (email) {
          case "bad":
            throw invalidField("email", "must be an address", "EMAIL_MALFORMED");
          case "throttled":
            throw new DomainError("TOO_MANY_ATTEMPTS", "wait", { retryAfterMs: 1500 });
          case "quota":
            throw new DomainError("KEY_QUOTA_EXCEEDED", "100 keys", { metadata: { owner_id: "usr_1" } });
          case "bug":
            throw new TypeError("duplicate key (password)=(hunter2)");
          default:
            return { user: { id: `${call.caller.kind} ${call.clientIp} ${call.userAgent.length > 0}`, email } };
        }
      },
    },
    keys: { verifyKey: async ({ apiKey }) => ({ valid: true, key: { name: apiKey } }) },
  });
  const baseUrl = `http://${wire.address}`;
  transports = {
    "gRPC, HTTP/2": createGrpcTransport({ baseUrl }),
    "gRPC, HTTP/2, gzip": createGrpcTransport({
      baseUrl,
      sendCompression: (await import("@connectrpc/connect-node")).compressionGzip,
      compressMinBytes: 0,
    }),
    "gRPC-Web, HTTP/1.1": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "gRPC-Web, HTTP/2": createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
    "Connect, HTTP/1.1": createConnectTransport({ baseUrl, httpVersion: "1.1" }),
    "Connect, HTTP/2": createConnectTransport({ baseUrl, httpVersion: "2" }),
    "Connect JSON, HTTP/1.1": createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  };
});
afterAll(() => wire.server.stop());

const PROTOCOLS = [
  "gRPC, HTTP/2",
  "gRPC, HTTP/2, gzip",
  "gRPC-Web, HTTP/1.1",
  "gRPC-Web, HTTP/2",
  "Connect, HTTP/1.1",
  "Connect, HTTP/2",
  "Connect JSON, HTTP/1.1",
];

describe.each(PROTOCOLS)("over %s,", (name) => {
  const login = (email: string) => createClient(AuthService, transports[name]!).login({ email });
  const refusal = (email: string) => login(email).then(() => expect.unreachable(), ConnectError.from);

  it("a call is answered, and the handler knows who called", async () => {
    const { user } = await login("ann@example.com");
    expect(user).toMatchObject({ id: "anonymous 127.0.0.1 true", email: "ann@example.com" });
  });

  it("a wrong field is answered with exactly one ErrorInfo and a BadRequest that names the field", async () => {
    const error = await refusal("bad");
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: "latchkey", reason: "INVALID_FIELD" }]);
    expect(error.findDetails(BadRequestSchema)).toMatchObject([
      { fieldViolations: [{ field: "email", description: "must be an address", reason: "EMAIL_MALFORMED" }] },
    ]);
    expect(error.findDetails(RetryInfoSchema)).toEqual([]);
  });

  it("an error that passes with time says how long to wait in RetryInfo and Retry-After", async () => {
    const error = await refusal("throttled");
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n, nanos: 500_000_000 } }]);
    expect(error.metadata.get("retry-after")).toBe("2");
  });

  it("an exceeded quota is answered with QuotaFailure", async () => {
    const error = await refusal("quota");
    expect(error.findDetails(QuotaFailureSchema)).toMatchObject([
      { violations: [{ subject: "usr_1", description: "100 keys" }] },
    ]);
  });

  it("a bug of the service is answered with INTERNAL only, and its cause is in the log", async () => {
    const error = await refusal("bug");
    expect([error.code, error.rawMessage]).toEqual([Code.Internal, "internal error"]);
    expect(JSON.stringify(error.findDetails(ErrorInfoSchema))).not.toContain("hunter2");
    const line = wire.log.findLast(({ level }) => level === "error");
    expect(line?.fields).toMatchObject({
      method: "latchkey.v1.AuthService.Login",
      code: "INTERNAL",
      reason: "INTERNAL",
    });
    expect(line?.cause).toBeInstanceOf(TypeError);
  });

  it("a call is refused as UNAUTHENTICATED without a credential, and served with a valid one", async () => {
    const keys = createClient(KeyService, transports[name]!);
    const error = await keys.verifyKey({ apiKey: "x" }).then(() => expect.unreachable(), ConnectError.from);
    expect(error.code).toBe(Code.Unauthenticated);
    const headers = { authorization: "Bearer service" };
    expect((await keys.verifyKey({ apiKey: "k" }, { headers })).key?.name).toBe("k");
    const denied = await keys.verifyKey({}, { headers: { authorization: "Bearer user" } }).catch(ConnectError.from);
    expect(denied).toMatchObject({ code: Code.PermissionDenied });
  });

  it("a method without a handler is answered with UNIMPLEMENTED and a text that says so", async () => {
    const error = await createClient(AuthService, transports[name]!).register({}).catch(ConnectError.from);
    expect(error).toMatchObject({
      code: Code.Unimplemented,
      rawMessage: "this server does not implement latchkey.v1.AuthService.Register",
    });
  });
});

it("grpc-js gets the same answers and the same details", async () => {
  const client = grpcClient(wire.address);
  const { user } = await callGrpc(client, AuthService.method.login, { email: "bob@example.com" });
  expect(user?.email).toBe("bob@example.com");
  const error = await callGrpc(client, AuthService.method.login, { email: "bad" }).catch((reason) => reason);
  expect(error).toMatchObject({ code: 3, details: "email: must be an address" });
  expect(error.metadata.get("grpc-status-details-bin")).toHaveLength(1);
  client.close();
});

it("a fetch of JSON needs no more than the path", async () => {
  const response = await fetch(`http://${wire.address}/latchkey.v1.AuthService/Login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "throttled" }),
  });
  expect(response.status).toBe(429);
  expect(response.headers.get("retry-after")).toBe("2");
  expect(await response.json()).toMatchObject({ code: "resource_exhausted", message: "wait" });
});

it("a stream without a handler is answered with UNIMPLEMENTED and a text that says so", async () => {
  const watch = createClient(KeyService, transports["gRPC, HTTP/2"]!).watchRevocations(
    {},
    { headers: { authorization: "Bearer service" } },
  );
  const error = await watch[Symbol.asyncIterator]().next().catch(ConnectError.from);
  expect(error).toMatchObject({
    code: Code.Unimplemented,
    rawMessage: "this server does not implement latchkey.v1.KeyService.WatchRevocations",
  });
});

it("every call is measured once, and logged unless it belongs to a frequent method and succeeded", async () => {
  const before = [wire.log.length, wire.finished.length] as const;
  const keys = createClient(KeyService, transports["gRPC, HTTP/2"]!);
  await keys.verifyKey({ apiKey: "secret-key" }, { headers: { authorization: "Bearer service" } });
  await keys.verifyKey({ apiKey: "secret-key" }).catch(() => {});
  await keys.getKey({ keyId: "key_1" }, { headers: { authorization: "Bearer user" } }).catch(() => {});
  expect(wire.finished.slice(before[1])).toEqual([
    ["KeyService.VerifyKey", "OK"],
    ["KeyService.VerifyKey", "UNAUTHENTICATED"],
    ["KeyService.GetKey", "UNIMPLEMENTED"],
  ]);
  const lines = wire.log.slice(before[0]);
  expect(lines.map(({ fields }) => [fields.method, fields.code, fields.caller])).toEqual([
    ["latchkey.v1.KeyService.VerifyKey", "UNAUTHENTICATED", "anonymous"],
    ["latchkey.v1.KeyService.GetKey", "UNIMPLEMENTED", "usr_1"],
  ]);
  const logged = Object.entries(lines[0]!.fields).filter(([, value]) => value !== undefined);
  expect(logged.map(([name]) => name).sort()).toEqual([
    "caller",
    "client_ip",
    "code",
    "method",
    "ms",
    "reason",
    "request_id",
  ]);
});
