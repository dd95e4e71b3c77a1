import type { CheckRateLimitRequest, KeyService } from "../gen/latchkey/v1/key_service_pb.ts";
import { batchVerifyKeys } from "../keys/batch-verify-keys.ts";
import { type CheckRateLimitDeps, type CheckRateLimitInput, checkRateLimit } from "../keys/check-rate-limit.ts";
import type { Tiers } from "../keys/tiers.ts";
import { type VerifyKeyDeps, verifyKey } from "../keys/verify-key.ts";
import { invalidField } from "../lib/errors.ts";
import type { UnaryHandlers } from "./call.ts";
import { checkRateLimitResponse, namedLimits, verifyKeyInput } from "./key-messages.ts";
import { VerdictEncoder } from "./verdict-encoding.ts";

export interface VerifyHandlersDeps extends VerifyKeyDeps, CheckRateLimitDeps {
  readonly records: VerifyKeyDeps["records"] & CheckRateLimitDeps["records"];
  readonly limiter: VerifyKeyDeps["limiter"];
  readonly tiers: Tiers;
}

type VerifyHandlers = Pick<UnaryHandlers<typeof KeyService>, "verifyKey" | "batchVerifyKeys" | "checkRateLimit">;

/** The RPCs that other services call for each request that they serve. */
export function verifyHandlers(deps: VerifyHandlersDeps): VerifyHandlers {
  const encoder = new VerdictEncoder(deps.tiers, deps.databaseClock);
  return {
    verifyKey: (request) => {
      const verdict = verifyKey(deps, verifyKeyInput(request));
      return verdict instanceof Promise ? verdict.then((late) => encoder.encode(late)) : encoder.encode(verdict);
    },
    batchVerifyKeys: async ({ requests }) =>
      encoder.encodeBatch(await batchVerifyKeys(deps, requests.map(verifyKeyInput))),
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
