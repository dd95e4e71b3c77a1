import type { DescMethod } from "@bufbuild/protobuf";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AdminService } from "../gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../gen/latchkey/v1/key_service_pb.ts";
import type { Rows } from "./access.ts";

/**
 * What a method does to what is kept. `changes`: it writes for its caller, so the caller's rate of changes counts it
 * (change-rate.ts). `reads`: it writes nothing. `proves`: it is for callers without a credential, and writes only for a
 * password or a genuine token, whose number its verb bounds.
 */
export type Effect = "changes" | "reads" | "proves";

const AUTH: Rows<typeof AuthService, Effect> = {
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
};

const KEYS: Rows<typeof KeyService, Effect> = {
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
};

const ADMINISTRATION: Rows<typeof AdminService, Effect> = {
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
};

const HEALTH: Rows<typeof Health, Effect> = { check: "reads", watch: "reads", list: "reads" };
const REFLECTION: Rows<typeof ServerReflection, Effect> = { serverReflectionInfo: "reads" };

const EFFECTS: ReadonlyMap<string, Readonly<Record<string, Effect>>> = new Map<
  string,
  Readonly<Record<string, Effect>>
>([
  [AuthService.typeName, AUTH],
  [KeyService.typeName, KEYS],
  [AdminService.typeName, ADMINISTRATION],
  [Health.typeName, HEALTH],
  [ServerReflection.typeName, REFLECTION],
  [ServerReflectionAlpha.typeName, REFLECTION],
]);

/** Whether the rate of changes counts a method. @throws Error for a method without a row: there is no default */
export function isChange(method: DescMethod): boolean {
  return effectOf(method) === "changes";
}

/** The row of a method. @throws Error for a method without one */
export function effectOf(method: DescMethod): Effect {
  const effect = EFFECTS.get(method.parent.typeName)?.[method.localName];
  if (effect === undefined) throw new Error(`${method.parent.typeName}.${method.name} has no row in rpc/effects.ts`);
  return effect;
}
