/**
 * The rules of limits. Each admitted call was counted at some moment between its start and its end. So a window is
 * exceeded only if more calls than allowed lie completely within it.
 *
 * - Redis admits at most L in each window, and L more for each time that it was emptied in or just before the window.
 * - Redis and processes alone (`degraded`) admit at most (processes + 1) * L together, and L more for each emptying.
 */
import type { FaultRecord, History, Violation } from "./history.ts";

const WINDOW_MS = 60_000;

interface Admitted {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly cost: number;
  readonly isDegraded: boolean;
}

export function limitViolations({ operations, faults, processes }: History): Violation[] {
  const emptied = faults.filter((fault) => fault.emptiesRedis);
  const subjects = new Map<string, { readonly limit: number; readonly admitted: Admitted[] }>();
  const add = (name: string, limit: number, admitted: Admitted) => {
    const subject = subjects.get(name) ?? { limit, admitted: [] };
    subjects.set(name, subject);
    subject.admitted.push(admitted);
  };
  for (const operation of operations) {
    const { startedMs, endedMs } = operation;
    const times = { startedMs, endedMs };
    if (operation.call === "limit" && operation.allowed) {
      add(operation.name, operation.limit, { ...times, cost: 1, isDegraded: operation.degraded ?? false });
    } else if (operation.call === "verify" && operation.verdict === "VALID" && operation.limit !== undefined) {
      const { keyId, limit, cost, degraded } = operation;
      add(keyId, limit, { ...times, cost, isDegraded: degraded ?? false });
    }
  }
  return [...subjects].flatMap(([subject, { limit, admitted }]) => {
    const shared = admitted.filter(({ isDegraded }) => !isDegraded);
    const worst =
      excess(shared, emptied, (empties) => limit * (1 + empties)) ??
      excess(admitted, emptied, (empties) =>
        admitted.some(({ isDegraded }) => isDegraded) ? limit * (processes + 1 + empties) : limit * (1 + empties),
      );
    if (worst === undefined) return [];
    const text = `${worst.count} calls admitted within ${WINDOW_MS / 1000} s, of ${worst.allowed} (limit ${limit})`;
    return [{ rule: "limit", text, subject, atMs: worst.atMs }];
  });
}

/** The first window with more calls than allowed. */
function excess(
  admitted: readonly Admitted[],
  emptied: readonly FaultRecord[],
  allowedFor: (empties: number) => number,
): { readonly count: number; readonly allowed: number; readonly atMs: number } | undefined {
  const inOrder = admitted.toSorted((a, b) => a.startedMs - b.startedMs);
  for (const [at, { startedMs }] of inOrder.entries()) {
    const endMs = startedMs + WINDOW_MS;
    const within = inOrder.slice(at).filter((one) => one.endedMs <= endMs);
    const count = within.reduce((sum, { cost }) => sum + cost, 0);
    const empties = emptied.filter((fault) => fault.startedMs <= endMs && fault.endedMs >= startedMs).length;
    const allowed = allowedFor(empties);
    if (count > allowed) return { count, allowed, atMs: endMs };
  }
  return undefined;
}
