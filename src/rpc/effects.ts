import type { DescMethod } from "@bufbuild/protobuf";
import { methodTable, rowOf } from "./method-rows.ts";

/**
 * What a method does to what is kept. `changes`: it writes for its caller, so the caller's rate of changes counts it
 * (change-rate.ts). `reads`: it writes nothing. `proves`: it is for callers without a credential, and writes only for a
 * password or a genuine token, whose number its verb bounds.
 */
export type Effect = "changes" | "reads" | "proves";

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
    listServiceCredentials: "reads",
    rotateServiceCredential: "changes",
    revokeServiceCredential: "changes",
    listSigningKeys: "reads",
    rotateSigningKey: "changes",
    revokeSigningKey: "changes",
    listAuditEvents: "reads",
  },
  health: { check: "reads", watch: "reads", list: "reads" },
  reflection: { serverReflectionInfo: "reads" },
});

/** Whether the rate of changes counts a method. @throws Error for a method without a row: there is no default */
export function isChange(method: DescMethod): boolean {
  return effectOf(method) === "changes";
}

/** The row of a method. @throws Error for a method without one */
export function effectOf(method: DescMethod): Effect {
  return rowOf(EFFECTS, method, "rpc/effects.ts");
}
