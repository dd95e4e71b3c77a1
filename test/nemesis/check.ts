/** The independent checker: it finds everything in a history that breaks a promise of the service, in order of time. */
import { availabilityViolations } from "./check-availability.ts";
import { limitViolations } from "./check-limits.ts";
import { nearViolations } from "./check-near.ts";
import { revocationViolations } from "./check-revocations.ts";
import { sessionViolations } from "./check-sessions.ts";
import { acknowledgementViolations, codeViolations, verdictViolations } from "./check-verdicts.ts";
import { watcherViolations } from "./check-watchers.ts";
import type { History, Violation } from "./history.ts";
import { Truth } from "./truth.ts";

export function check(history: History): readonly Violation[] {
  const truth = new Truth(history);
  return [
    ...verdictViolations(history, truth),
    ...nearViolations(history, truth),
    ...acknowledgementViolations(history, truth),
    ...revocationViolations(history),
    ...codeViolations(history, truth),
    ...availabilityViolations(history),
    ...sessionViolations(history, truth),
    ...limitViolations(history),
    ...watcherViolations(history, truth),
    ...history.crashes.map(({ process, atMs, output }) => ({
      rule: "crash",
      text: `${process < 0 ? "the process of the near clients" : `process ${process}`} ended by itself: ${output.trim().split("\n").at(-1)}`,
      subject: `process ${process}`,
      atMs,
    })),
  ].toSorted((a, b) => a.atMs - b.atMs);
}
