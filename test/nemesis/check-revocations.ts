/** The rule of repeated revocations: each acknowledgement for one key has the same `revoke_time`. */
import type { Change, History, Violation } from "./history.ts";
import { isChange } from "./truth.ts";

export function revocationViolations({ operations }: Pick<History, "operations">): Violation[] {
  const times = new Map<string, string>();
  return acknowledgedRevocations(operations).flatMap(({ subject, process, revokeTime, endedMs }) => {
    const first = times.get(subject) ?? revokeTime!;
    times.set(subject, first);
    if (first === revokeTime) return [];
    const text = `process ${process} says that it was revoked at ${revokeTime}, and an earlier answer says ${first}`;
    return [{ rule: "revoked twice", text, subject, atMs: endedMs }];
  });
}

export function acknowledgedRevocations(operations: History["operations"]): readonly Change[] {
  return operations.filter(isChange).filter(({ revokeTime }) => revokeTime !== undefined);
}
