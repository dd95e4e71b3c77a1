/**
 * The rule of near verdicts: each must fit some state of key, owner and secret between the time that its age names and
 * the end of its call. A verdict without a call is at most 5 s old; one by a call is as old as the service allows.
 */
import { CLOCK_BEHIND_MS, explanations, FRESH_MS } from "./check-verdicts.ts";
import type { History, NearVerify, Violation } from "./history.ts";
import type { Truth } from "./truth.ts";

const ROUNDING_MS = 5;
/** A paused process may not notice 1 s of its pause, and neither may a paused client. */
const UNNOTICED_PAUSES_MS = 2000;

export function nearViolations(history: History, truth: Truth): Violation[] {
  return history.operations.flatMap((operation) => {
    if (operation.call !== "near" || operation.verdict === undefined) return [];
    const text = faultOf(operation, history, truth);
    return text === undefined ? [] : [{ rule: "near", text, subject: operation.keyId, atMs: operation.endedMs }];
  });
}

function faultOf(operation: NearVerify, { staleOkMs, clockDriftMs }: History, truth: Truth): string | undefined {
  const { verdict, keyId, process, startedMs, endedMs, source, ageMs = 0 } = operation;
  const mostMs = source === "near" ? FRESH_MS : FRESH_MS + staleOkMs;
  // The age of an answer also counts the time of its call.
  const ageBeforeMs = source === "near" ? ageMs : ageMs - (endedMs - startedMs);
  if (ageBeforeMs > mostMs + ROUNDING_MS + CLOCK_BEHIND_MS) {
    return `${verdict} (${source}) is ${ageMs.toFixed(0)} ms old, beyond ${mostMs} ms`;
  }
  const fromMs = startedMs - ageMs - UNNOTICED_PAUSES_MS - ROUNDING_MS - clockDriftMs;
  const owner = truth.keys.get(keyId)?.[0]?.value.ownerId ?? "";
  const explained = explanations({ ...operation, limit: undefined }, truth, { keyMs: fromMs, ownerMs: fromMs }, owner);
  if (explained === undefined || explained.has(verdict!)) return undefined;
  const since = `${(endedMs - fromMs).toFixed(0)} ms`;
  return `client of process ${process} says ${verdict} (${source}); of the last ${since}, only ${[...explained].join(" or ")} is true`;
}
