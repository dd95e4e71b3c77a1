/**
 * The rule of recovery: 10 s after the last fault and the start of a process, it and its near client answer again. The
 * rule judges no speed: one answer to the many calls of such a time is enough.
 */
import type { History, Violation } from "./history.ts";
import { NEAR_PROCESS } from "./near.ts";

/** Maximum time after all faults until calls are answered, on a busy machine. */
export const RECOVERY_MS = 10_000;
/** Shorter times and fewer calls are too little to judge. */
const SHORTEST_MS = 4000;
const FEWEST_CALLS = 8;

/** A time in which a process, or its near client, must answer. */
export interface Calm {
  readonly process: number;
  readonly isNear: boolean;
  readonly fromMs: number;
  readonly toMs: number;
}

export function availabilityViolations(history: History): Violation[] {
  return calmsOf(history).flatMap(({ process, isNear, fromMs, toMs }) => {
    const calls = history.operations.filter(
      (one) =>
        one.process === process && (one.call === "near") === isNear && one.startedMs >= fromMs && one.startedMs < toMs,
    );
    if (calls.length < FEWEST_CALLS || calls.some(({ outcome }) => outcome.kind === "ok")) return [];
    const place = `${isNear ? "the near client of process" : "process"} ${process}`;
    const text = `${place} answered none of ${calls.length} calls, ${RECOVERY_MS} ms and more after the last fault`;
    return [{ rule: "recovery", text, subject: place, atMs: toMs }];
  });
}

/** The calm times of all processes and near clients. */
export function calmsOf(history: Pick<History, "faults" | "starts" | "startedMs" | "endedMs" | "processes">): Calm[] {
  return Array.from({ length: history.processes }, (_, process) =>
    [false, true].flatMap((isNear) =>
      gapsOf(history, isNear ? [process, NEAR_PROCESS] : [process]).map((gap) => ({ process, isNear, ...gap })),
    ),
  ).flat();
}

/** The times without a fault, and without a start of these processes, after the time for recovery. */
function gapsOf(
  { faults, starts, startedMs, endedMs }: Pick<History, "faults" | "starts" | "startedMs" | "endedMs">,
  processes: readonly number[],
): { readonly fromMs: number; readonly toMs: number }[] {
  const begins = starts
    .filter(({ process }) => processes.includes(process))
    .map((start) => ({ startedMs: start.startedMs, endedMs: start.readyMs ?? endedMs }));
  const disturbed = [...faults, ...begins, { startedMs: endedMs, endedMs }];
  const gaps: { fromMs: number; toMs: number }[] = [];
  let healedMs = startedMs;
  for (const { startedMs: toMs, endedMs: endMs } of disturbed.toSorted((a, b) => a.startedMs - b.startedMs)) {
    const fromMs = healedMs + RECOVERY_MS;
    if (fromMs + SHORTEST_MS <= toMs) gaps.push({ fromMs, toMs });
    healedMs = Math.max(healedMs, endMs);
  }
  return gaps;
}
