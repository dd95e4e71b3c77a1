/**
 * The contract as code: the services, messages and enumerations of latchkey.v1, the error details that its calls carry,
 * and the health service. For callers of `latchkey.auth`, `latchkey.keys` and `latchkey.admin` that need a schema, such
 * as to write an answer as JSON.
 */
export {
  type BadRequest,
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  type QuotaFailure,
  QuotaFailureSchema,
  type RetryInfo,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.ts";
export * from "../../src/gen/grpc/health/v1/health_pb.ts";
export * from "../../src/gen/latchkey/v1/admin_service_pb.ts";
export * from "../../src/gen/latchkey/v1/audit_event_pb.ts";
export * from "../../src/gen/latchkey/v1/auth_service_pb.ts";
export * from "../../src/gen/latchkey/v1/change_pb.ts";
export * from "../../src/gen/latchkey/v1/key_pb.ts";
export * from "../../src/gen/latchkey/v1/key_service_pb.ts";
export * from "../../src/gen/latchkey/v1/limits_pb.ts";
export * from "../../src/gen/latchkey/v1/service_credential_pb.ts";
export * from "../../src/gen/latchkey/v1/session_pb.ts";
export * from "../../src/gen/latchkey/v1/signing_key_pb.ts";
export * from "../../src/gen/latchkey/v1/token_pair_pb.ts";
export * from "../../src/gen/latchkey/v1/user_pb.ts";
