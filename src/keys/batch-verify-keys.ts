import type { Limiter } from "../limits/limit.ts";
import { attempt, checkBatchSize } from "./batch.ts";
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

export interface BatchVerifyKeysDeps extends VerdictDeps {
  readonly records: Pick<KeyRecords, "fresh" | "findAll">;
  readonly limiter: Pick<Limiter, "decideAll">;
}

/** The outcome of one request: a verdict, or the error with which VerifyKey would have failed. */
export type BatchOutcome = { readonly verdict: KeyVerdict } | { readonly error: unknown };

/**
 * Verifies many keys in one pass. One statement reads every key that is not in memory. The limiter decides all requests
 * together and in order, so that a key that occurs twice counts twice.
 *
 * @throws INVALID_FIELD if the batch is too large; a fault of one request is in its outcome
 */
export async function batchVerifyKeys(
  deps: BatchVerifyKeysDeps,
  inputs: readonly VerifyKeyInput[],
): Promise<readonly BatchOutcome[]> {
  checkBatchSize(inputs);
  const judged = await judgeAll(deps, inputs);
  const counted = judged.flatMap((outcome, index) => {
    const request = "verdict" in outcome ? limitRequest(outcome.verdict, inputs[index]!) : undefined;
    return request === undefined ? [] : [{ index, request }];
  });
  const decisions = await deps.limiter.decideAll(counted.map(({ request }) => request));
  const decisionOf = new Map(counted.map(({ index }, position) => [index, decisions[position]]));
  return judged.map((outcome, index) =>
    "verdict" in outcome ? { verdict: withDecision(deps, outcome.verdict, decisionOf.get(index)) } : outcome,
  );
}

async function judgeAll(deps: BatchVerifyKeysDeps, inputs: readonly VerifyKeyInput[]): Promise<BatchOutcome[]> {
  const outcomes = inputs.map((input) => attempt(() => seek(deps, input)));
  const wanted = outcomes.flatMap((outcome, index) => ("keyId" in outcome ? [{ index, keyId: outcome.keyId }] : []));
  // A failed read fails every key that needed it, but no key that was in memory.
  const loads = await deps.records.findAll(
    wanted.map(({ index, keyId }) => ({ rawKey: inputs[index]!.rawKey, keyId })),
  );
  const loadOf = new Map(wanted.map(({ index }, position) => [index, loads[position]!]));
  return outcomes.map((outcome, index) => {
    if ("error" in outcome || "verdict" in outcome) return outcome;
    const load = loadOf.get(index)!;
    return load.status === "rejected" ? { error: load.reason } : { verdict: judge(deps, inputs[index]!, load.value) };
  });
}

/** The verdict without its limits, or the id of the key that must be read for it. */
function seek(deps: BatchVerifyKeysDeps, input: VerifyKeyInput): { verdict: KeyVerdict } | { keyId: string } {
  checkUse(input);
  const known = knownRecord(deps, input);
  if (known !== undefined) return { verdict: judge(deps, input, known) };
  return candidate(deps.format, input) ?? { verdict: INVALID_BY_FORM };
}
