import type { LimitDecision, Limiter, LimitRequest } from "../limits/limit.ts";
import { attempt, checkBatchSize } from "./batch.ts";
import { type CheckRateLimitInput, keyRequest, seekSubject } from "./check-rate-limit.ts";
import type { KeyRecords } from "./key-records.ts";

export interface BatchCheckRateLimitsDeps {
  readonly records: Pick<KeyRecords, "findLimitsOfAll">;
  readonly limiter: Pick<Limiter, "decideAll">;
}

/** The outcome of one request: a decision, or the error with which CheckRateLimit would have failed. */
export type RateLimitOutcome = { readonly decision: LimitDecision } | { readonly error: unknown };

/**
 * Counts many calls in one pass. One statement reads the limits of every key that is not in memory. The limiter decides
 * all requests in one turn and in order, so that a subject that occurs twice counts twice.
 *
 * @throws INVALID_FIELD if the batch is too large; a fault of one request is in its outcome
 */
export async function batchCheckRateLimits(
  deps: BatchCheckRateLimitsDeps,
  inputs: readonly CheckRateLimitInput[],
): Promise<readonly RateLimitOutcome[]> {
  checkBatchSize(inputs);
  const sought = await requestsOf(deps, inputs);
  const asked = sought.flatMap((one) => ("request" in one ? [one.request] : []));
  const decisions = await deps.limiter.decideAll(asked);
  let at = 0;
  return sought.map((one) => ("request" in one ? { decision: decisions[at++]! } : one));
}

type Sought = { readonly request: LimitRequest } | { readonly error: unknown };

async function requestsOf(
  { records }: BatchCheckRateLimitsDeps,
  inputs: readonly CheckRateLimitInput[],
): Promise<readonly Sought[]> {
  const sought = inputs.map((input) => attempt(() => seekSubject(input)));
  const keyIds = [...new Set(sought.flatMap((one) => ("keyId" in one ? [one.keyId] : [])))];
  // A failed read fails every request that needed it, and no other.
  const loads = await records.findLimitsOfAll(keyIds);
  const loadOf = new Map(keyIds.map((keyId, at) => [keyId, loads[at]!]));
  return sought.map((one, at) => {
    if (!("keyId" in one)) return one;
    const load = loadOf.get(one.keyId)!;
    if (load.status === "rejected") return { error: load.reason };
    return attempt(() => ({ request: keyRequest(one.keyId, inputs[at]!, load.value) }));
  });
}
