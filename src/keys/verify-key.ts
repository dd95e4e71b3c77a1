import type { Limiter } from "../limits/limit.ts";
import { checkUse, type VerifyKeyInput } from "./check-use.ts";
import type { KeyRecords } from "./key-records.ts";
import {
  candidate,
  INVALID_BY_FORM,
  judge,
  type KeyVerdict,
  knownRecord,
  limitRequest,
  type VerdictDeps,
  withDecision,
} from "./verdict.ts";

export interface VerifyKeyDeps extends VerdictDeps {
  readonly records: Pick<KeyRecords, "fresh" | "find">;
  readonly limiter: Pick<Limiter, "decide">;
}

/**
 * Judges a key and counts the call against its limits. Returns the verdict itself, not a promise, if everything needed
 * is in memory. A refused key is a verdict, too; an error means that there is no verdict.
 *
 * @throws INVALID_FIELD, DATABASE_UNAVAILABLE, MASTER_KEY_MISSING; also as a rejection
 */
export function verifyKey(deps: VerifyKeyDeps, input: VerifyKeyInput): KeyVerdict | Promise<KeyVerdict> {
  checkUse(input);
  const known = knownRecord(deps, input);
  if (known !== undefined) return countLimits(deps, input, judge(deps, input, known));
  const parsed = candidate(deps.format, input);
  if (parsed === undefined) return INVALID_BY_FORM;
  return deps.records
    .find(input.rawKey, parsed.keyId)
    .then((loaded) => countLimits(deps, input, judge(deps, input, loaded)));
}

function countLimits(deps: VerifyKeyDeps, input: VerifyKeyInput, judged: KeyVerdict): KeyVerdict | Promise<KeyVerdict> {
  const request = limitRequest(judged, input);
  const decision = request && deps.limiter.decide(request);
  if (decision instanceof Promise) return decision.then((decided) => withDecision(deps, judged, decided));
  return withDecision(deps, judged, decision);
}
