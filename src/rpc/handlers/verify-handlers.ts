import type { CheckRateLimitRequest, KeyService } from "../../gen/latchkey/v1/key_service_pb.ts";
import { type BatchVerifyKeysDeps, batchVerifyKeys } from "../../keys/batch-verify-keys.ts";
import { type CheckRateLimitDeps, type CheckRateLimitInput, checkRateLimit } from "../../keys/check-rate-limit.ts";
import type { Tiers } from "../../keys/tiers.ts";
import type { KeyVerdict } from "../../keys/verdict.ts";
import { type VerifyKeyDeps, verifyKey } from "../../keys/verify-key.ts";
import { invalidField } from "../../lib/errors.ts";
import type { Call, UnaryHandlers } from "../call.ts";
import { retryAfterSeconds } from "../errors.ts";
import { checkRateLimitResponse, namedLimits, verifyKeyInput } from "./key-messages.ts";
import { VerdictEncoder } from "./verdict-encoding.ts";

export interface VerifyHandlersDeps extends VerifyKeyDeps, BatchVerifyKeysDeps, CheckRateLimitDeps {
  readonly records: VerifyKeyDeps["records"] & BatchVerifyKeysDeps["records"] & CheckRateLimitDeps["records"];
  readonly limiter: VerifyKeyDeps["limiter"] & BatchVerifyKeysDeps["limiter"];
  readonly tiers: Tiers;
}

type VerifyHandlers = Pick<UnaryHandlers<typeof KeyService>, "verifyKey" | "batchVerifyKeys" | "checkRateLimit">;

/** The RPCs of KeyService that services call for each request that they serve. */
export function verifyHandlers(deps: VerifyHandlersDeps): VerifyHandlers {
  const encoder = new VerdictEncoder(deps.tiers, deps.databaseClock);
  return {
    verifyKey: (request, call) => {
      const answer = (verdict: KeyVerdict) => {
        addRetryAfter(call, verdict.retryAfterMs);
        return encoder.encode(verdict);
      };
      const verdict = verifyKey(deps, verifyKeyInput(request));
      return verdict instanceof Promise ? verdict.then(answer) : answer(verdict);
    },
    batchVerifyKeys: async ({ requests }) =>
      encoder.encodeBatch(await batchVerifyKeys(deps, requests.map(verifyKeyInput))),
    checkRateLimit: async (request, call) => {
      const decision = await checkRateLimit(deps, rateLimitInput(request));
      addRetryAfter(call, decision.retryAfterMs);
      return checkRateLimitResponse(decision);
    },
  };
}

/** Adds the header that HTTP clients and proxies understand (RFC 9110, 10.2.3). The message has the exact time. */
function addRetryAfter(call: Call, retryAfterMs: number | undefined): void {
  if (retryAfterMs !== undefined) call.addHeader("retry-after", retryAfterSeconds(retryAfterMs));
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
      throw invalidField("subject", "must be set: to key_id or to name");
  }
}
