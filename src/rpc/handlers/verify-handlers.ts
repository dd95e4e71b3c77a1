import type { KeyService } from "../../gen/latchkey/v1/key_service_pb.ts";
import {
  type BatchCheckRateLimitsDeps,
  batchCheckRateLimits,
  type RateLimitOutcome,
} from "../../keys/batch-check-rate-limits.ts";
import { type BatchVerifyKeysDeps, batchVerifyKeys } from "../../keys/batch-verify-keys.ts";
import { type CheckRateLimitDeps, checkRateLimit } from "../../keys/check-rate-limit.ts";
import type { Tiers } from "../../keys/tiers.ts";
import type { KeyVerdict } from "../../keys/verdict.ts";
import type { VerdictObserver } from "../../keys/verdict-counts.ts";
import { type VerifyKeyDeps, verifyKey } from "../../keys/verify-key.ts";
import type { AgeClock } from "../../lib/clock.ts";
import type { Histograms } from "../../lib/histogram.ts";
import type { Call, UnaryHandlers } from "../call.ts";
import { retryAfterSeconds, toRpcStatus } from "../errors.ts";
import { checkRateLimitResponse, rateLimitInput, verifyKeyInput } from "./key-messages.ts";
import { VerdictEncoder } from "./verdict-encoding.ts";

export interface VerifyHandlersDeps
  extends VerifyKeyDeps,
    BatchVerifyKeysDeps,
    CheckRateLimitDeps,
    BatchCheckRateLimitsDeps {
  readonly records: VerifyKeyDeps["records"] &
    BatchVerifyKeysDeps["records"] &
    CheckRateLimitDeps["records"] &
    BatchCheckRateLimitsDeps["records"];
  readonly limiter: VerifyKeyDeps["limiter"] & BatchVerifyKeysDeps["limiter"];
  readonly tiers: Tiers;
  /** Counts the verdicts. Absent: nothing does. */
  readonly verdicts?: VerdictObserver;
  /** Counts the sizes of batches. Absent: nothing does. */
  readonly batches?: Pick<Histograms<BatchMethod>, "of">;
  /** Measures the age of records. */
  readonly clock: AgeClock;
}

/** The RPCs that take several requests at once. */
export type BatchMethod = "BatchVerifyKeys" | "BatchCheckRateLimits";

/** The RPCs of KeyService that services call for each request that they serve. */
export type VerifyHandlers = Pick<
  UnaryHandlers<typeof KeyService>,
  "verifyKey" | "batchVerifyKeys" | "checkRateLimit" | "batchCheckRateLimits"
>;

/** The handlers of those RPCs. */
export function verifyHandlers(deps: VerifyHandlersDeps): VerifyHandlers {
  const encoder = new VerdictEncoder(deps);
  return {
    verifyKey: (request, call) => {
      const answer = (verdict: KeyVerdict) => {
        deps.verdicts?.verdictGiven(verdict.verdict, serviceOf(call));
        addRetryAfter(call, verdict.retryAfterMs);
        return encoder.encode(verdict);
      };
      const verdict = verifyKey(deps, verifyKeyInput(request));
      return verdict instanceof Promise ? verdict.then(answer) : answer(verdict);
    },
    batchVerifyKeys: async ({ requests }, call) => {
      deps.batches?.of("BatchVerifyKeys").observe(requests.length);
      const outcomes = await batchVerifyKeys(deps, requests.map(verifyKeyInput));
      for (const outcome of outcomes) {
        if ("verdict" in outcome) deps.verdicts?.verdictGiven(outcome.verdict.verdict, serviceOf(call));
      }
      return encoder.encodeBatch(outcomes);
    },
    checkRateLimit: async (request, call) => {
      const decision = await checkRateLimit(deps, rateLimitInput(request));
      addRetryAfter(call, decision.retryAfterMs);
      return checkRateLimitResponse(decision);
    },
    batchCheckRateLimits: async ({ requests }) => {
      deps.batches?.of("BatchCheckRateLimits").observe(requests.length);
      const outcomes = await batchCheckRateLimits(deps, requests.map(rateLimitInput));
      return { results: outcomes.map((outcome) => ({ outcome: rateLimitOutcome(outcome) })) };
    },
  };
}

/** The id of the credential of a calling service. */
function serviceOf({ caller }: Call): string | undefined {
  return caller.kind === "service" ? caller.credentialId : undefined;
}

/** Adds the header that HTTP clients and proxies understand (RFC 9110, 10.2.3). The message has the exact time. */
function addRetryAfter(call: Call, retryAfterMs: number | undefined): void {
  if (retryAfterMs !== undefined) call.addHeader("retry-after", retryAfterSeconds(retryAfterMs));
}

function rateLimitOutcome(outcome: RateLimitOutcome) {
  return "decision" in outcome
    ? { case: "response" as const, value: checkRateLimitResponse(outcome.decision) }
    : { case: "error" as const, value: toRpcStatus(outcome.error) };
}
