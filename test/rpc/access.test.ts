import type { DescMethod, DescMethodServerStreaming, DescMethodUnary, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { ACCESS, accessRule } from "../../src/rpc/access.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { SPEAKS_REST } from "../support/lane.ts";
import { createRestTransport } from "../support/rest-transport.ts";

const SERVICES: readonly DescService[] = [AuthService, KeyService, AdminService, Authorization, RateLimitService];
const CALLERS = ["anonymous", "user", "verify", "manage", "admin", "revoked", "api key", "garbage", "two"] as const;
type CallerKind = (typeof CALLERS)[number];

/** The expected callers of each method, written a second time by hand: the table in rpc/access.ts is under test. */
const EXPECTED: Readonly<Record<string, readonly CallerKind[]>> = {
  ...rows("AuthService", ["Register", "Login", "Refresh", "Logout", "CompletePasswordReset"], CALLERS),
  ...rows(
    "AuthService",
    ["GetCurrentUser", "UpdateCurrentUser", "ChangePassword", "ListSessions", "RevokeSession"],
    ["user"],
  ),
  ...rows(
    "KeyService",
    ["IssueKey", "GetKey", "ListKeys", "UpdateKey", "DisableKey", "EnableKey", "RotateKey", "RevokeKey", "DeleteKey"],
    ["user", "manage", "admin"],
  ),
  ...rows(
    "KeyService",
    ["VerifyKey", "BatchVerifyKeys", "CheckRateLimit", "BatchCheckRateLimits", "WatchRevocations"],
    ["verify", "admin"],
  ),
  ...rows(
    "AdminService",
    [
      ...["CreateUser", "ListUsers", "GetUser", "UpdateUser", "DisableUser", "EnableUser", "CreatePasswordReset"],
      ...[
        "ClearLoginFailures",
        "EndUserSessions",
        "ResetRateLimits",
        "IssueServiceCredential",
        "UpdateServiceCredential",
        "ListServiceCredentials",
      ],
      ...[
        "RotateServiceCredential",
        "RevokeServiceCredential",
        "ListSigningKeys",
        "RotateSigningKey",
        "RevokeSigningKey",
      ],
      "ListAuditEvents",
    ],
    ["admin"],
  ),
  ...rows("AdminService", ["GetServerInfo"], ["verify", "manage", "admin"]),
  "envoy.service.auth.v3.Authorization.Check": ["verify", "admin"],
  "envoy.service.ratelimit.v3.RateLimitService.ShouldRateLimit": ["verify", "admin"],
};

function rows(service: string, methods: readonly string[], callers: readonly CallerKind[]) {
  return Object.fromEntries(methods.map((method) => [`latchkey.v1.${service}.${method}`, callers]));
}

const METHODS = SERVICES.flatMap((service) => service.methods);

describe("access", () => {
  let service: TestService;
  const credentials = new Map<CallerKind, string[]>();
  beforeAll(async () => {
    service = await startTestService();
    const { apiKey, person } = await service.newKey();
    const admin = service.client(AdminService, service.admin);
    const revoked = await admin.issueServiceCredential({ name: "revoked", scopes: ["admin"] });
    await admin.revokeServiceCredential({ credentialId: revoked.credential!.id });
    for (const scope of ["verify", "manage"] as const) credentials.set(scope, [await service.newCredential(scope)]);
    credentials.set("user", [person.tokens.accessToken]);
    credentials.set("admin", [service.admin]);
    credentials.set("revoked", [revoked.secret]);
    credentials.set("api key", [apiKey]);
    credentials.set("garbage", ["garbage"]);
    credentials.set("two", [service.admin, service.admin]);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  it("has a rule for every method, and this test has a row for each of them", () => {
    const names = METHODS.map((method) => `${method.parent.typeName}.${method.name}`);
    expect(Object.keys(EXPECTED).sort()).toEqual([...names].sort());
    for (const method of METHODS) expect(accessRule(method)).toBeDefined();
    for (const [typeName, rules] of ACCESS) expect(Object.keys(rules), typeName).not.toHaveLength(0);
  });

  describe.each(SPEAKS_REST ? ["REST"] : ["gRPC", "Connect over HTTP/1.1"])("by %s", (protocol) => {
    const transportOf = (baseUrl: string): Transport => {
      if (protocol === "Connect over HTTP/1.1") return createConnectTransport({ baseUrl, httpVersion: "1.1" });
      const other = createGrpcTransport({ baseUrl });
      return protocol === "gRPC" ? other : createRestTransport(service.address, { other, emptyId: "none" });
    };
    const call = async (method: DescMethod, kind: CallerKind) => {
      const transport = transportOf(`http://${service.address}`);
      const headers = new Headers((credentials.get(kind) ?? []).map((value) => ["authorization", `Bearer ${value}`]));
      if (method.methodKind !== "unary") {
        const streaming = method as DescMethodServerStreaming;
        for await (const _ of (await transport.stream(streaming, undefined, 10_000, headers, (async function* () {})()))
          .message)
          break;
        return;
      }
      await transport.unary(method as DescMethodUnary, undefined, 10_000, headers, {});
    };

    it.each(CALLERS)("admits the caller %s to its methods of the table, and to no others", async (kind) => {
      for (const method of METHODS) {
        const name = `${method.parent.typeName}.${method.name}`;
        const code = await call(method, kind).then(
          () => undefined,
          (error) => ConnectError.from(error).code,
        );
        if (EXPECTED[name]!.includes(kind)) {
          // Admitted: an empty request may fail, but not for access. Four methods answer UNAUTHENTICATED for a wrong
          // credential in the message itself.
          const refusedInside = ["Login", "Refresh", "CompletePasswordReset", "ChangePassword"].includes(method.name);
          if (!refusedInside) expect(code, name).not.toBe(Code.Unauthenticated);
          expect(code, name).not.toBe(Code.PermissionDenied);
        } else {
          const isKnown = ["user", "verify", "manage", "admin"].includes(kind);
          expect(code, name).toBe(isKnown ? Code.PermissionDenied : Code.Unauthenticated);
        }
      }
    });
  });

  it("names the missing scope to a known caller, and nothing to an unknown one", async () => {
    const verifier = service.client(AdminService, credentials.get("verify")![0]);
    const denied = await errorOf(verifier.listUsers({}));
    expect(denied).toMatchObject({ code: Code.PermissionDenied, reason: "ACCESS_DENIED" });
    expect(denied.message).toContain("admin");
    const anonymous = await errorOf(service.client(AdminService).listUsers({}));
    expect(anonymous).toMatchObject({ code: Code.Unauthenticated, reason: "CREDENTIAL_MISSING" });
  });
});
