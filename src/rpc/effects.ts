import type { DescMethod } from "@bufbuild/protobuf";
import { methodTable, rowOf } from "./method-rows.ts";

/**
 * The effect of a method on stored data. `changes`: the method writes for its caller, and counts against the caller's
 * rate of changes (change-rate.ts). `reads`: the method writes nothing. `proves`: the method is for callers without a
 * credential. It writes only for a password or a genuine token, and its verb bounds how often.
 */
export type Effect = "changes" | "reads" | "proves";

/** The effect of every method. */
const EFFECTS = methodTable<Effect>({
  auth: {
    register: "proves",
    login: "proves",
    refresh: "proves",
    logout: "proves",
    completePasswordReset: "proves",
    getCurrentUser: "reads",
    updateCurrentUser: "changes",
    changePassword: "changes",
    listSessions: "reads",
    revokeSession: "changes",
  },
  keys: {
    issueKey: "changes",
    getKey: "reads",
    listKeys: "reads",
    updateKey: "changes",
    disableKey: "changes",
    enableKey: "changes",
    rotateKey: "changes",
    revokeKey: "changes",
    deleteKey: "changes",
    verifyKey: "reads",
    batchVerifyKeys: "reads",
    checkRateLimit: "reads",
    batchCheckRateLimits: "reads",
    watchRevocations: "reads",
  },
  administration: {
    createUser: "changes",
    listUsers: "reads",
    getUser: "reads",
    updateUser: "changes",
    disableUser: "changes",
    enableUser: "changes",
    createPasswordReset: "changes",
    clearLoginFailures: "changes",
    endUserSessions: "changes",
    resetRateLimits: "changes",
    issueServiceCredential: "changes",
    updateServiceCredential: "changes",
    listServiceCredentials: "reads",
    rotateServiceCredential: "changes",
    revokeServiceCredential: "changes",
    listSigningKeys: "reads",
    rotateSigningKey: "changes",
    revokeSigningKey: "changes",
    listAuditEvents: "reads",
    getServerInfo: "reads",
  },
  envoyAuthorization: { check: "reads" },
  envoyRateLimits: { shouldRateLimit: "reads" },
  health: { check: "reads", watch: "reads", list: "reads" },
  reflection: { serverReflectionInfo: "reads" },
});

/** Whether a method counts against its caller's rate of changes. @throws {Error} for a method without a row */
export function isChange(method: DescMethod): boolean {
  return effectOf(method) === "changes";
}

/** The effect of a method. @throws {Error} for a method without a row: there is no default */
export function effectOf(method: DescMethod): Effect {
  return rowOf(EFFECTS, method, "rpc/effects.ts");
}
