import { invalidField, invalidFields } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import { textViolation } from "../lib/text.ts";
import type { LimitDecision, Limiter, LimitFigures, LimitRequest, NamedLimit } from "../limits/limit.ts";
import { keyNotFound } from "./grants.ts";
import type { KeyRecords } from "./key-records.ts";
import { keySubject, limitViolations, MAX_SUBJECT_NAME_BYTES, namedSubject, ownLimit } from "./limit-requests.ts";

export interface CheckRateLimitDeps {
  readonly records: Pick<KeyRecords, "findLimits">;
  readonly limiter: Pick<Limiter, "decide">;
}

export interface CheckRateLimitInput {
  /** undefined if the request names none. */
  readonly subject:
    | { readonly kind: "key"; readonly keyId: string }
    | { readonly kind: "name"; readonly name: string }
    | undefined;
  readonly cost: number;
  readonly limits: readonly NamedLimit[];
  /** Whether the call has happened already: then it is counted also beyond a limit. */
  readonly admitted: boolean;
}

/**
 * Counts a call against the limits of a subject: a key, whatever its state, or any other name.
 *
 * @throws KEY_NOT_FOUND; INVALID_FIELD, also for a cost that can never fit; DATABASE_UNAVAILABLE
 */
export async function checkRateLimit(deps: CheckRateLimitDeps, input: CheckRateLimitInput): Promise<LimitDecision> {
  const sought = seekSubject(input);
  if ("request" in sought) return deps.limiter.decide(sought.request);
  return deps.limiter.decide(keyRequest(sought.keyId, input, await deps.records.findLimits(sought.keyId)));
}

/**
 * Checks what the calling service sent. Returns the request to the limiter, or the id of the key whose own limits it
 * needs.
 *
 * @throws INVALID_FIELD; KEY_NOT_FOUND for an id that no key can have
 */
export function seekSubject(
  input: CheckRateLimitInput,
): { readonly request: LimitRequest } | { readonly keyId: string } {
  const { subject, cost, limits, admitted } = input;
  if (subject === undefined) throw invalidField("subject", "must be set: to key_id or to name");
  const violations = limitViolations(cost, limits, admitted);
  if (violations.length > 0) throw invalidFields(violations);
  if (subject.kind === "name") {
    checkName(subject.name, limits);
    return { request: { subject: namedSubject(subject.name), cost, limits, admitted } };
  }
  if (!isId("key", subject.keyId)) throw keyNotFound();
  return { keyId: subject.keyId };
}

/**
 * The request to the limiter about a key.
 *
 * @param figures the key's own limits; undefined if there is no such key
 * @throws KEY_NOT_FOUND; INVALID_FIELD for a cost that can never fit
 */
export function keyRequest(
  keyId: string,
  { cost, limits, admitted }: CheckRateLimitInput,
  figures: LimitFigures | undefined,
): LimitRequest {
  if (figures === undefined) throw keyNotFound();
  const own = ownLimit(figures);
  if (!admitted) checkCost(cost, own);
  return { subject: keySubject(keyId), cost, limits: [own, ...limits], admitted };
}

function checkName(name: string, limits: readonly NamedLimit[]): void {
  const violation = textViolation("name", name, { min: 1, max: MAX_SUBJECT_NAME_BYTES });
  if (violation !== undefined) throw invalidFields([violation]);
  if (Buffer.byteLength(name) > MAX_SUBJECT_NAME_BYTES)
    throw invalidField("name", `must have at most ${MAX_SUBJECT_NAME_BYTES} bytes`);
  if (limits.length === 0) throw invalidField("limits", "must have at least one entry for a subject by name");
}

function checkCost(cost: number, own: NamedLimit): void {
  for (const figure of [own.perMinute, own.perDay]) {
    if (figure !== undefined && figure > 0 && cost > figure) {
      throw invalidField("cost", `is above the key's limit of ${figure} and can never fit`);
    }
  }
}
