import type { DescMethod } from "@bufbuild/protobuf";
import { DomainError } from "../lib/errors.ts";
import type { Caller, ServiceScope } from "./call.ts";
import { methodTable, rowOf } from "./method-rows.ts";
import type { AccessRule } from "./routes.ts";

const ANYONE: AccessRule = "anyone";
const USER: AccessRule = { user: true };
const USER_OR_MANAGER: AccessRule = { user: true, scopes: ["manage"] };
const VERIFIER: AccessRule = { scopes: ["verify"] };
const ANY_SERVICE: AccessRule = { scopes: ["verify", "manage"] };
const ADMIN: AccessRule = { scopes: ["admin"] };

/** The access rule of every method. There are no other rules, and a method without a row stops the start. */
export const ACCESS = methodTable<AccessRule>({
  auth: {
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
  },
  keys: {
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
    batchCheckRateLimits: VERIFIER,
    watchRevocations: VERIFIER,
  },
  administration: {
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
    updateServiceCredential: ADMIN,
    listServiceCredentials: ADMIN,
    rotateServiceCredential: ADMIN,
    revokeServiceCredential: ADMIN,
    listSigningKeys: ADMIN,
    rotateSigningKey: ADMIN,
    revokeSigningKey: ADMIN,
    listAuditEvents: ADMIN,
    getServerInfo: ANY_SERVICE,
  },
  envoyAuthorization: { check: VERIFIER },
  envoyRateLimits: { shouldRateLimit: VERIFIER },
  health: { check: ANYONE, watch: ANYONE, list: ANYONE },
  reflection: { serverReflectionInfo: ANYONE },
});

/** The access rule of a method. @throws {Error} for a method without one: there is no default */
export function accessRule(method: DescMethod): AccessRule {
  return rowOf(ACCESS, method, "rpc/access.ts");
}

/** Enforces a rule. @throws CREDENTIAL_MISSING for an anonymous caller; ACCESS_DENIED for one that the rule excludes */
export function checkAccess(rule: AccessRule, caller: Caller): void {
  if (rule === "anyone") return;
  switch (caller.kind) {
    case "anonymous":
      throw new DomainError(
        "CREDENTIAL_MISSING",
        "this method needs a credential: send an access token or a service credential as `authorization: Bearer ...`",
      );
    case "user":
      if (!rule.user) throw new DomainError("ACCESS_DENIED", lacksScope(rule));
      return;
    case "service":
      if (!hasScope(caller.scopes, rule.scopes ?? [])) throw new DomainError("ACCESS_DENIED", lacksScope(rule));
      return;
    default:
      caller satisfies never;
  }
}

/** Whether a service has one of the wanted scopes. `admin` includes the others. */
export function hasScope(held: readonly ServiceScope[], wanted: readonly ServiceScope[]): boolean {
  return wanted.some((scope) => held.includes(scope)) || (wanted.length > 0 && held.includes("admin"));
}

function lacksScope(rule: Exclude<AccessRule, "anyone">): string {
  if (rule.scopes === undefined) return "this method is for users: send a user's access token";
  return `this method needs a service credential with the scope ${rule.scopes.join(" or ")}`;
}
