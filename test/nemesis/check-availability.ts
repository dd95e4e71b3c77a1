/**
 * The rule of recovery: where no fault has lasted for RECOVERY_MS, each process and each near client answers again. It
 * judges no speed: of all calls that begin in such a time, and there must be several, one at least has an answer.
 */
import type { FaultRecord, History, Operation, Violation } from "./history.ts";

/** Maximum time after all faults until calls are answered, on a busy machine. */
export const RECOVERY_MS = 10_000;
/** Fewer calls than this are too few to judge. */
const FEWEST_CALLS = 8;

/** A time without a fault, after the time for recovery. */
export interface Calm {
  readonly fromMs: number;
  readonly toMs: number;
}

export function availabilityViolations(history: History): Violation[] {
  return calmsOf(history).flatMap(({ fromMs, toMs }) => {
    const calls = history.operations.filter(({ startedMs }) => startedMs >= fromMs && startedMs < toMs);
    return [...Map.groupBy(calls, placeOf)].flatMap(([place, made]) => {
      if (made.length < FEWEST_CALLS || made.some(({ outcome }) => outcome.kind === "ok")) return [];
      const text = `${place} answered none of ${made.length} calls, ${RECOVERY_MS} ms and more after the last fault`;
      return [{ rule: "recovery", text, subject: place, atMs: toMs }];
    });
  });
}

/** The calm times of a run, in order. */
export function calmsOf({ faults, startedMs, endedMs }: Pick<History, "faults" | "startedMs" | "endedMs">): Calm[] {
  const calms: Calm[] = [];
  let healedMs = startedMs;
  for (const fault of [...byStart(faults), { startedMs: endedMs, endedMs }]) {
    const fromMs = healedMs + RECOVERY_MS;
    if (fromMs < fault.startedMs) calms.push({ fromMs, toMs: fault.startedMs });
    healedMs = Math.max(healedMs, fault.endedMs);
  }
  return calms;
}

function placeOf({ call, process }: Operation): string {
  return call === "near" ? `the near client of process ${process}` : `process ${process}`;
}

function byStart(faults: readonly FaultRecord[]): readonly FaultRecord[] {
  return faults.toSorted((a, b) => a.startedMs - b.startedMs);
}
