import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type DescMessage, type DescMethod, getOption } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { http } from "../../src/gen/google/api/annotations_pb.ts";
import { type HttpRule, HttpRuleSchema } from "../../src/gen/google/api/http_pb.ts";
import { CodeSchema } from "../../src/gen/google/rpc/code_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { DomainError, type Reason } from "../../src/lib/errors.ts";
import { ERRORS, toConnectError } from "../../src/rpc/errors.ts";
import { errorAnswer } from "../../src/rpc/rest/rest-answer.ts";

/** The path of every unary RPC, written a second time by hand: the contract is under test. A star is the whole body. */
const PATHS: Readonly<Record<string, string>> = {
  Register: "POST /v1/auth/register *",
  Login: "POST /v1/auth/login *",
  Refresh: "POST /v1/auth/refresh *",
  Logout: "POST /v1/auth/logout *",
  ChangePassword: "POST /v1/auth/change-password *",
  CompletePasswordReset: "POST /v1/auth/complete-password-reset *",
  GetCurrentUser: "GET /v1/profile",
  UpdateCurrentUser: "PATCH /v1/profile user",
  ListSessions: "GET /v1/sessions",
  RevokeSession: "DELETE /v1/sessions/{session_id}",
  IssueKey: "POST /v1/keys *",
  ListKeys: "GET /v1/keys",
  GetKey: "GET /v1/keys/{key_id}",
  UpdateKey: "PATCH /v1/keys/{key.id} key",
  DeleteKey: "DELETE /v1/keys/{key_id}",
  RotateKey: "POST /v1/keys/{key_id}:rotate *",
  RevokeKey: "POST /v1/keys/{key_id}:revoke *",
  DisableKey: "POST /v1/keys/{key_id}:disable *",
  EnableKey: "POST /v1/keys/{key_id}:enable *",
  VerifyKey: "POST /v1/keys:verify *",
  BatchVerifyKeys: "POST /v1/keys:batchVerify *",
  CheckRateLimit: "POST /v1/rate-limits:check *",
  BatchCheckRateLimits: "POST /v1/rate-limits:batchCheck *",
  CreateUser: "POST /v1/admin/users *",
  ListUsers: "GET /v1/admin/users",
  GetUser: "GET /v1/admin/users/{user_id}",
  UpdateUser: "PATCH /v1/admin/users/{user.id} user",
  DisableUser: "POST /v1/admin/users/{user_id}:disable *",
  EnableUser: "POST /v1/admin/users/{user_id}:enable *",
  CreatePasswordReset: "POST /v1/admin/users/{user_id}:createPasswordReset *",
  ClearLoginFailures: "POST /v1/admin/users/{user_id}:clearLoginFailures *",
  EndUserSessions: "POST /v1/admin/users/{user_id}:endSessions *",
  ResetRateLimits: "POST /v1/admin/keys/{key_id}:resetRateLimits *",
  IssueServiceCredential: "POST /v1/admin/service-credentials *",
  ListServiceCredentials: "GET /v1/admin/service-credentials",
  UpdateServiceCredential: "PATCH /v1/admin/service-credentials/{credential.id} credential",
  RotateServiceCredential: "POST /v1/admin/service-credentials/{credential_id}:rotate *",
  RevokeServiceCredential: "POST /v1/admin/service-credentials/{credential_id}:revoke *",
  ListSigningKeys: "GET /v1/admin/signing-keys",
  RotateSigningKey: "POST /v1/admin/signing-keys:rotate *",
  RevokeSigningKey: "POST /v1/admin/signing-keys/{key_id}:revoke *",
  ListAuditEvents: "GET /v1/admin/audit-events",
  GetServerInfo: "GET /v1/admin/server-info",
};

const METHODS: readonly DescMethod[] = [AuthService, KeyService, AdminService].flatMap(
  (service): readonly DescMethod[] => service.methods,
);

function pathOf({ pattern, body }: HttpRule): string {
  return `${pattern.case?.toUpperCase()} ${pattern.value} ${body}`.trim();
}

describe("the contract", () => {
  it("has a REST path for every unary RPC, and none for a stream", () => {
    const paths = METHODS.flatMap((method) => {
      const rule = getOption(method, http);
      return rule.pattern.case === undefined ? [] : [[method.name, pathOf(rule)]];
    });
    expect(Object.fromEntries(paths)).toEqual(PATHS);
    expect(paths.map(([name]) => name)).toEqual(
      METHODS.filter(({ methodKind }) => methodKind === "unary").map(({ name }) => name),
    );
  });

  it("puts no secret into a path or a query", () => {
    for (const method of METHODS) {
      expect([method.name, secretsInUrl(method.input, getOption(method, http))]).toEqual([method.name, []]);
    }
  });

  it("would have secrets there without its bodies (the control)", () => {
    const bare = create(HttpRuleSchema, { pattern: { case: "get", value: "/v1/keys" } });
    expect(secretsInUrl(KeyService.method.verifyKey.input, bare)).toEqual(["api_key"]);
    expect(secretsInUrl(AuthService.method.login.input, bare)).toEqual(["password", "refresh_token"]);
    const inPath = create(HttpRuleSchema, { pattern: { case: "post", value: "/v1/keys/{api_key}" }, body: "*" });
    expect(secretsInUrl(KeyService.method.verifyKey.input, inPath)).toEqual(["api_key"]);
  });
});

/** The paths of the fields that a path or a query can set and that must not appear in logs. */
function secretsInUrl(input: DescMessage, { pattern, body }: HttpRule): string[] {
  if (pattern.case === undefined) return [];
  return secretFields(input).filter((path) => {
    const isInPath = String(pattern.value).includes(`{${path}}`);
    const isInBody = body === "*" || path.split(".")[0] === body;
    return isInPath || !isInBody;
  });
}

function secretFields(desc: DescMessage, within: readonly DescMessage[] = []): string[] {
  if (within.includes(desc)) return [];
  return desc.fields.flatMap((field) => {
    if (field.proto.options?.debugRedact) return [field.name];
    return field.message === undefined
      ? []
      : secretFields(field.message, [...within, desc]).map((path) => `${field.name}.${path}`);
  });
}

/** The HTTP status of each gRPC code, as google/rpc/code.proto says in its comments. */
const STATUSES: Readonly<Record<string, number>> = {
  ...{ INVALID_ARGUMENT: 400, FAILED_PRECONDITION: 400, UNAUTHENTICATED: 401, PERMISSION_DENIED: 403, NOT_FOUND: 404 },
  ...{ ALREADY_EXISTS: 409, ABORTED: 409, RESOURCE_EXHAUSTED: 429, CANCELLED: 499, INTERNAL: 500, UNIMPLEMENTED: 501 },
  ...{ UNAVAILABLE: 503, DEADLINE_EXCEEDED: 504 },
};
const OWN_STATUSES: Partial<Record<Reason, number>> = {
  ...{ MESSAGE_TOO_LARGE: 413, HTTP_METHOD_NOT_ALLOWED: 405, HTTP_CONTENT_NOT_ALLOWED: 415 },
};

it.each(Object.keys(ERRORS) as Reason[])(
  "%s has the HTTP status of its code, or one that HTTP has for it",
  (reason) => {
    const { status, body, headers } = errorAnswer(toConnectError(new DomainError(reason, "text")));
    const { code } = ERRORS[reason];
    expect(status).toBe(OWN_STATUSES[reason] ?? STATUSES[code]);
    expect(JSON.parse(body!.toString()).error).toMatchObject({ code: status, status: code });
    expect(headers.some(([name, value]) => name === "www-authenticate" && value === "Bearer")).toBe(status === 401);
  },
);

it("google/rpc/code.proto states those statuses itself", () => {
  const proto = readFileSync(join(import.meta.dirname, "../../third_party/google/rpc/code.proto"), "utf8");
  const stated = [...proto.matchAll(/HTTP Mapping: (\d+) [^\n]*\n\s*([A-Z_]+) = \d+;/g)];
  const statuses = Object.fromEntries(stated.map(([, status, code]) => [code, Number(status)]));
  expect(stated).toHaveLength(CodeSchema.values.length);
  expect(statuses).toMatchObject(STATUSES);
});

it("docs/REST.md has the path of every RPC, and no other", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/REST.md"), "utf8");
  const rows = [...page.matchAll(/^\| `([A-Z]+ \/v1\/\S+)` \| (\w+) \|/gm)].map(([, path, name]) => [name, path]);
  expect(Object.fromEntries(rows)).toEqual(
    Object.fromEntries(Object.entries(PATHS).map(([name, path]) => [name, path.replace(/ [*a-z]+$/, "")])),
  );
});
