import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CheckRateLimitRequest, KeyService, VerifyKeyResponseSchema } from "../gen/latchkey/v1/key_service_pb.ts";
import { batchVerifyKeys } from "../keys/batch-verify-keys.ts";
import { type CheckRateLimitDeps, type CheckRateLimitInput, checkRateLimit } from "../keys/check-rate-limit.ts";
import type { Tiers } from "../keys/tiers.ts";
import { type KeyVerdict, type VerifyKeyDeps, verifyKey } from "../keys/verify-key.ts";
import { invalidField } from "../lib/errors.ts";
import type { UnaryHandlers } from "./call.ts";
import { toRpcStatus } from "./errors.ts";
import { checkRateLimitResponse, namedLimits, verifyKeyInput, verifyKeyResponse } from "./key-messages.ts";
import { encodeVerdict } from "./verdict-encoding.ts";

export interface VerifyHandlersDeps extends VerifyKeyDeps, CheckRateLimitDeps {
  readonly records: VerifyKeyDeps["records"] & CheckRateLimitDeps["records"];
  readonly limiter: VerifyKeyDeps["limiter"];
  readonly tiers: Tiers;
}

type VerifyHandlers = Pick<UnaryHandlers<typeof KeyService>, "verifyKey" | "batchVerifyKeys" | "checkRateLimit">;

/** The RPCs that other services call for each request that they serve. */
export function verifyHandlers(deps: VerifyHandlersDeps): VerifyHandlers {
  const message = (verdict: KeyVerdict): MessageInitShape<typeof VerifyKeyResponseSchema> =>
    verifyKeyResponse(verdict, deps.tiers, deps.databaseClock.nowMs());
  return {
    verifyKey: async (request) => encodeVerdict(message(await verifyKey(deps, verifyKeyInput(request)))),
    batchVerifyKeys: async ({ requests }) => {
      const outcomes = await batchVerifyKeys(deps, requests.map(verifyKeyInput));
      return {
        results: outcomes.map((outcome) => ({
          outcome:
            "verdict" in outcome
              ? { case: "response" as const, value: message(outcome.verdict) }
              : { case: "error" as const, value: toRpcStatus(outcome.error) },
        })),
      };
    },
    checkRateLimit: async (request) => checkRateLimitResponse(await checkRateLimit(deps, rateLimitInput(request))),
  };
}

function rateLimitInput(request: CheckRateLimitRequest): CheckRateLimitInput {
  const { subject } = request;
  const rest = { cost: request.cost ?? 1, limits: namedLimits(request.limits) };
  switch (subject.case) {
    case "keyId":
      return { ...rest, subject: { kind: "key", keyId: subject.value } };
    case "name":
      return { ...rest, subject: { kind: "name", name: subject.value } };
    default:
      throw invalidField("subject", "must be key_id or name");
  }
}
