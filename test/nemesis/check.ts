/** The independent checker: it finds everything in a history that breaks a promise of the service, in order of time. */
import { limitViolations } from "./check-limits.ts";
import { sessionViolations } from "./check-sessions.ts";
import { acknowledgementViolations, codeViolations, verdictViolations } from "./check-verdicts.ts";
import { watcherViolations } from "./check-watchers.ts";
import type { History, Violation } from "./history.ts";
import { Truth } from "./truth.ts";

export function check(history: History): readonly Violation[] {
  const truth = new Truth(history);
  return [
    ...verdictViolations(history, truth),
    ...acknowledgementViolations(history, truth),
    ...codeViolations(history, truth),
    ...sessionViolations(history, truth),
    ...limitViolations(history),
    ...watcherViolations(history, truth),
    ...history.crashes.map(({ process, atMs, output }) => ({
      rule: "crash",
      text: `process ${process} ended by itself: ${output.trim().split("\n").at(-1)}`,
      subject: `process ${process}`,
      atMs,
    })),
  ].toSorted((a, b) => a.atMs - b.atMs);
}
