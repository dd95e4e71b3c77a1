import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AdminService } from "../gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../gen/latchkey/v1/key_service_pb.ts";
import { DomainError } from "../lib/errors.ts";
import type { Caller, ServiceScope } from "./call.ts";
import type { AccessRule } from "./routes.ts";

const ANYONE: AccessRule = "anyone";
const USER: AccessRule = { user: true };
const USER_OR_MANAGER: AccessRule = { user: true, scopes: ["manage"] };
const VERIFIER: AccessRule = { scopes: ["verify"] };
const ADMIN: AccessRule = { scopes: ["admin"] };

/** Every method of a service by its local name: one that is missing does not compile. */
export type Rows<S extends DescService, Row = AccessRule> = { readonly [K in keyof S["method"]]: Row };

const AUTH: Rows<typeof AuthService> = {
  register: ANYONE,
  login: ANYONE,
  refresh: ANYONE,
  logout: ANYONE,
  completePasswordReset: ANYONE,
  getCurrentUser: USER,
  updateCurrentUser: USER,
  changePassword: USER,
  listSessions: USER,
  revokeSession: USER,
};

const KEYS: Rows<typeof KeyService> = {
  issueKey: USER_OR_MANAGER,
  getKey: USER_OR_MANAGER,
  listKeys: USER_OR_MANAGER,
  updateKey: USER_OR_MANAGER,
  disableKey: USER_OR_MANAGER,
  enableKey: USER_OR_MANAGER,
  rotateKey: USER_OR_MANAGER,
  revokeKey: USER_OR_MANAGER,
  deleteKey: USER_OR_MANAGER,
  verifyKey: VERIFIER,
  batchVerifyKeys: VERIFIER,
  checkRateLimit: VERIFIER,
  watchRevocations: VERIFIER,
};

const ADMINISTRATION: Rows<typeof AdminService> = {
  createUser: ADMIN,
  listUsers: ADMIN,
  getUser: ADMIN,
  updateUser: ADMIN,
  disableUser: ADMIN,
  enableUser: ADMIN,
  createPasswordReset: ADMIN,
  clearLoginFailures: ADMIN,
  endUserSessions: ADMIN,
  resetRateLimits: ADMIN,
  issueServiceCredential: ADMIN,
  listServiceCredentials: ADMIN,
  rotateServiceCredential: ADMIN,
  revokeServiceCredential: ADMIN,
  listSigningKeys: ADMIN,
  rotateSigningKey: ADMIN,
  revokeSigningKey: ADMIN,
  listAuditEvents: ADMIN,
};

const HEALTH: Rows<typeof Health> = { check: ANYONE, watch: ANYONE, list: ANYONE };
const REFLECTION: Rows<typeof ServerReflection> = { serverReflectionInfo: ANYONE };

/** Who may call what: the one table. A service that is not in it can't be served. */
export const ACCESS: ReadonlyMap<string, Readonly<Record<string, AccessRule>>> = new Map<
  string,
  Readonly<Record<string, AccessRule>>
>([
  [AuthService.typeName, AUTH],
  [KeyService.typeName, KEYS],
  [AdminService.typeName, ADMINISTRATION],
  [Health.typeName, HEALTH],
  [ServerReflection.typeName, REFLECTION],
  [ServerReflectionAlpha.typeName, REFLECTION],
]);

/** The row of a method. @throws Error for a method without one: there is no default */
export function accessRule(method: DescMethod): AccessRule {
  const rule = ACCESS.get(method.parent.typeName)?.[method.localName];
  if (rule === undefined) throw new Error(`${method.parent.typeName}.${method.name} has no row in rpc/access.ts`);
  return rule;
}

/** @throws CREDENTIAL_MISSING for an anonymous caller, ACCESS_DENIED for one whom the row does not name */
export function checkAccess(rule: AccessRule, caller: Caller): void {
  if (rule === "anyone") return;
  switch (caller.kind) {
    case "anonymous":
      throw new DomainError("CREDENTIAL_MISSING", "this method needs a credential: send `authorization: Bearer ...`");
    case "user":
      if (!rule.user) throw new DomainError("ACCESS_DENIED", "users may not call this method");
      return;
    case "service":
      if (!hasScope(caller.scopes, rule.scopes ?? [])) throw new DomainError("ACCESS_DENIED", lacksScope(rule));
      return;
    default:
      caller satisfies never;
  }
}

/** `admin` includes the others. */
export function hasScope(held: readonly ServiceScope[], wanted: readonly ServiceScope[]): boolean {
  return wanted.some((scope) => held.includes(scope)) || (wanted.length > 0 && held.includes("admin"));
}

function lacksScope(rule: Exclude<AccessRule, "anyone">): string {
  if (rule.scopes === undefined) return "service credentials may not call this method";
  return `this method needs a service credential with the scope ${rule.scopes.join(" or ")}`;
}
