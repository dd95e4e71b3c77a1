import { invalidField, invalidFields } from "../lib/errors.ts";
import { isId } from "../lib/id.ts";
import { textViolation } from "../lib/text.ts";
import type { LimitDecision, Limiter, NamedLimit } from "../limits/limit.ts";
import { keyNotFound } from "./grants.ts";
import type { KeyRecords } from "./key-records.ts";
import { checkLimits, keySubject, namedSubject, ownLimit } from "./limit-requests.ts";

export interface CheckRateLimitDeps {
  readonly records: Pick<KeyRecords, "findLimits">;
  readonly limiter: Pick<Limiter, "decide">;
}

export interface CheckRateLimitInput {
  readonly subject: { readonly kind: "key"; readonly keyId: string } | { readonly kind: "name"; readonly name: string };
  readonly cost: number;
  readonly limits: readonly NamedLimit[];
}

const MAX_NAME_BYTES = 256;

/**
 * Counts a call against the limits of a subject: a key, whatever its state, or any other name.
 *
 * @throws KEY_NOT_FOUND; INVALID_FIELD, also for a cost that can never fit; DATABASE_UNAVAILABLE
 */
export async function checkRateLimit(deps: CheckRateLimitDeps, input: CheckRateLimitInput): Promise<LimitDecision> {
  checkLimits(input.cost, input.limits);
  if (input.subject.kind === "name") return checkName(deps, input, input.subject.name);
  const own = await ownLimitOf(deps, input.subject.keyId);
  checkCost(input.cost, own);
  return deps.limiter.decide({
    subject: keySubject(input.subject.keyId),
    cost: input.cost,
    limits: [own, ...input.limits],
  });
}

function checkName(deps: CheckRateLimitDeps, input: CheckRateLimitInput, name: string): ReturnType<Limiter["decide"]> {
  const violation = textViolation("name", name, { min: 1, max: MAX_NAME_BYTES });
  if (violation !== undefined) throw invalidFields([violation]);
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw invalidField("name", `must have at most ${MAX_NAME_BYTES} bytes`);
  if (input.limits.length === 0) throw invalidField("limits", "must have at least one entry for a subject by name");
  return deps.limiter.decide({ subject: namedSubject(name), cost: input.cost, limits: input.limits });
}

async function ownLimitOf(deps: CheckRateLimitDeps, keyId: string): Promise<NamedLimit> {
  if (!isId("key", keyId)) throw keyNotFound();
  const figures = await deps.records.findLimits(keyId);
  if (figures === undefined) throw keyNotFound();
  return ownLimit(figures);
}

function checkCost(cost: number, own: NamedLimit): void {
  for (const figure of [own.perMinute, own.perDay]) {
    if (figure !== undefined && figure > 0 && cost > figure) {
      throw invalidField("cost", `is above the key's limit of ${figure} and can never fit`);
    }
  }
}
