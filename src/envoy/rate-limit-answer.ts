import type { MessageInitShape } from "@bufbuild/protobuf";
import { httpAnswer } from "../answers/http-answer.ts";
import { secondsOf, tightestOf } from "../answers/rate-limit-fields.ts";
import {
  RateLimitResponse_Code as Code,
  type RateLimitResponse_DescriptorStatusSchema as DescriptorStatusSchema,
  type RateLimitResponseSchema,
  RateLimitResponse_RateLimit_Unit as Unit,
} from "../gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { MINUTE_MS } from "../lib/clock.ts";
import type { LimitDecision, LimitRequest } from "../limits/limit.ts";

/**
 * The answer to Envoy: one status for each request, in order. Each status shows the window with the least remaining
 * share, or, over the limit, that of the windows without room. `duration_until_reset` is in whole seconds, rounded up,
 * because Envoy cuts fractions off for its `x-ratelimit-reset`.
 *
 * Over the limit, the answer also has the body and the headers of a 429 at the other doors: problem details,
 * `cache-control` and `retry-after`. Envoy adds `x-ratelimit-*` by itself, if its configuration says so.
 *
 * `dynamic_metadata` has `degraded: true` if Redis was unreachable.
 */
export function rateLimitAnswer(
  requests: readonly LimitRequest[],
  decisions: readonly LimitDecision[],
): MessageInitShape<typeof RateLimitResponseSchema> {
  const denied = decisions.filter(({ allowed }) => !allowed);
  return {
    overallCode: denied.length === 0 ? Code.OK : Code.OVER_LIMIT,
    statuses: decisions.map((decision, at) => statusOf(decision, requests[at]!.cost)),
    ...(denied.length === 0 ? {} : refusal(longestWait(denied))),
    ...(decisions.some(({ degraded }) => degraded) ? { dynamicMetadata: { degraded: true } } : {}),
  };
}

function statusOf({ allowed, windows }: LimitDecision, cost: number): MessageInitShape<typeof DescriptorStatusSchema> {
  const code = allowed ? Code.OK : Code.OVER_LIMIT;
  const shown = tightestOf(allowed ? windows : windows.filter(({ remaining }) => remaining < cost));
  if (shown === undefined) return { code };
  const { limit, remaining, lengthMs, resetAfterMs } = shown;
  return {
    code,
    currentLimit: { requestsPerUnit: limit, unit: lengthMs === MINUTE_MS ? Unit.MINUTE : Unit.DAY },
    limitRemaining: remaining,
    durationUntilReset: { seconds: BigInt(secondsOf(resetAfterMs)) },
  };
}

/** The wait after which all of the denied requests have room; undefined if no wait helps one of them. */
function longestWait(denied: readonly LimitDecision[]): number | undefined {
  const waits = denied.map(({ retryAfterMs }) => retryAfterMs ?? Number.POSITIVE_INFINITY);
  const longest = Math.max(...waits);
  return Number.isFinite(longest) ? longest : undefined;
}

function refusal(retryAfterMs: number | undefined): MessageInitShape<typeof RateLimitResponseSchema> {
  const { headers, body } = httpAnswer({ admitted: false, code: "RATE_LIMITED", windows: [], retryAfterMs }, "");
  return {
    responseHeadersToAdd: headers.map(([key, value]) => ({ key: key.toLowerCase(), value })),
    rawBody: Buffer.from(body),
  };
}
