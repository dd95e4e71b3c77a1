/** The promises that a run has judged, each with the number of its checks and of its violations. Pure. */
import { calmsOf } from "../nemesis/check-availability.ts";
import { acknowledgedRevocations } from "../nemesis/check-revocations.ts";
import type { History, Operation, Violation } from "../nemesis/history.ts";
import { isChange, isSessionCall } from "../nemesis/truth.ts";
import { growthsOf, type MemorySample } from "./memory.ts";

export interface Promised {
  readonly promise: string;
  /** Number of the answers, windows, messages or lives that were judged. */
  readonly checks: number;
  readonly violations: number;
}

type Count = (history: History, memory: readonly MemorySample[]) => number;

const REFUSALS = ["INVALID", "REVOKED", "EXPIRED", "DISABLED", "OWNER_DISABLED", "SCOPE_MISSING"];

/** The promises in the order of the table. `rules` are those of violations. */
const PROMISES: readonly (readonly [promise: string, rules: readonly string[], count: Count])[] = [
  [
    "a key is accepted only while it is good, or as long after as the answer declares",
    ["verdict:VALID"],
    ({ operations }) => operations.filter((one) => one.call === "verify" && one.verdict === "VALID").length,
  ],
  [
    "a key is refused only for a reason that the database shows",
    ["verdict"],
    ({ operations }) =>
      operations.filter((one) => one.call === "verify" && REFUSALS.includes(one.verdict ?? "")).length,
  ],
  [
    "near clients accept no ended key after 5 s, and refuse no good one",
    ["near"],
    ({ operations }) => operations.filter((one) => one.call === "near" && one.verdict !== undefined).length,
  ],
  ["no window admits more than its limit, with the allowance of outages of Redis", ["limit"], admittedIn],
  [
    "a refresh token has one successor",
    ["successor"],
    ({ operations }) => operations.filter((one) => one.call === "refresh" && one.nextDigest !== undefined).length,
  ],
  [
    "an old refresh token ends its session, and nothing else but a logout does",
    ["session", "session lost"],
    ({ operations }) => operations.filter(isSessionCall).length,
  ],
  [
    "no acknowledged change is lost",
    ["acknowledged"],
    ({ operations }) => operations.filter((one) => isChange(one) && isOk(one)).length,
  ],
  [
    "a key that is revoked again keeps its time",
    ["revoked twice"],
    ({ operations }) => {
      const revocations = acknowledgedRevocations(operations);
      return revocations.length - new Set(revocations.map(({ subject }) => subject)).size;
    },
  ],
  [
    "watchers are told of every change, in order",
    ["watcher"],
    ({ followers }) => followers.reduce((sum, { messages }) => sum + messages.length, 0),
  ],
  [
    "an error has a code that a fault explains",
    ["code"],
    ({ operations }) => operations.filter((one) => !isOk(one)).length,
  ],
  [
    "each process and near client answers in a calm, 10 s after faults and starts",
    ["recovery"],
    (history) => calmsOf(history).length,
  ],
  [
    "in the end each process and near client agrees with the database",
    ["sweep"],
    ({ operations, endedMs, faults }) => {
      const healedMs = Math.max(0, ...faults.map((fault) => fault.endedMs));
      return operations.filter(({ startedMs }) => startedMs > healedMs && startedMs < endedMs).length;
    },
  ],
  ["no process ends by itself", ["crash"], ({ starts }) => starts.length],
  ["no process grows without a bound", ["memory"], (_, memory) => growthsOf(memory).length],
];

export function promisesOf(
  history: History,
  violations: readonly Violation[],
  memory: readonly MemorySample[],
): readonly Promised[] {
  return PROMISES.map(([promise, rules, count]) => ({
    promise,
    checks: count(history, memory),
    violations: violations.filter((violation) => rules.includes(ruleOf(violation))).length,
  }));
}

/** The rule of a violation; that of an accepted key is one of its own. */
function ruleOf({ rule, text }: Violation): string {
  return rule === "verdict" && /\bVALID\b/.test(text.split(";")[0]!) ? "verdict:VALID" : rule;
}

/** Admitted calls, each of which begins a window that is judged. */
function admittedIn({ operations }: History): number {
  return operations.filter(
    (one) =>
      (one.call === "limit" && one.allowed) ||
      (one.call === "verify" && one.limit !== undefined && one.verdict === "VALID"),
  ).length;
}

function isOk({ outcome }: Operation): boolean {
  return outcome.kind === "ok";
}
