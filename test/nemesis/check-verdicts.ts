/**
 * The rules of verdicts, acknowledgements and error codes: pure functions from a history to its violations.
 *
 * A verdict must fit some state of key, owner and secret between its declared `as_of_time` and the end of its call.
 * `as_of_time` must be at most `max_staleness` before the call began. `max_staleness` must be at most 5 s, or 5 s and
 * LATCHKEY_STALE_OK_SECONDS. So the rule counts from the times in the answer, and a slow machine breaks no bound. A
 * process that acknowledged a change of a key shows it in every later call for that key. The same holds for an owner,
 * but a change of the one promises nothing about the other.
 */
import type { Change, History, Operation, Verify, Violation } from "./history.ts";
import { isChange, type KeyFacts, possible, type SecretFacts, type Truth } from "./truth.ts";

/** Maximum age of a record in use while the database answers. */
export const FRESH_MS = 5000;
/** Tolerance for times that were rounded to whole milliseconds. */
const ROUNDING_MS = 5;
/**
 * Maximum lag of a process' estimate of the database's time: the time of its quickest answer, on a slow link. The
 * estimate is never ahead.
 */
export const CLOCK_BEHIND_MS = 1000;

export function verdictViolations(history: History, truth: Truth): Violation[] {
  const acknowledged = acknowledgements(history);
  return history.operations.flatMap((operation) => {
    if (operation.call !== "verify" || operation.verdict === undefined) return [];
    const fault = freshnessFault(operation, history) ?? verdictFault(operation, truth, acknowledged, history);
    if (fault === undefined) return [];
    return [{ rule: "verdict", text: fault, subject: operation.keyId, atMs: operation.endedMs }];
  });
}

/** An acknowledged change must be in the database with the acknowledged values. */
export function acknowledgementViolations(history: History, truth: Truth): Violation[] {
  return history.operations.filter(isChange).flatMap((change) => {
    if (change.outcome.kind !== "ok") return [];
    const version = truth.versionFor(change);
    const isLost =
      version === undefined ||
      (change.secret !== undefined && !truth.hasSecretWithin(change)) ||
      !isInEffect(change, truth);
    if (!isLost) return [];
    const text = `${change.call} was acknowledged by process ${change.process}, and is not in the database`;
    return [{ rule: "acknowledged", text, subject: change.subject, atMs: change.endedMs }];
  });
}

function isInEffect(change: Change, truth: Truth): boolean {
  const versions = truth.keys.get(change.subject) ?? truth.owners.get(change.subject);
  const version = truth.versionFor(change)!;
  const at = (versions as readonly unknown[]).indexOf(version);
  const next = versions![at + 1];
  return next === undefined || next.visibleMs >= change.startedMs;
}

function freshnessFault(verify: Verify, { staleOkMs, clockDriftMs }: History): string | undefined {
  const { asOfMs, maxStalenessMs, startedMs, endedMs, verdict } = verify;
  if (asOfMs === undefined || maxStalenessMs === undefined)
    return `${verdict} without freshness for a key of good form`;
  if (maxStalenessMs > FRESH_MS + staleOkMs) {
    return `max_staleness ${maxStalenessMs} ms is beyond ${FRESH_MS} ms and the configured ${staleOkMs} ms`;
  }
  const slackMs = ROUNDING_MS + clockDriftMs;
  const ageMs = startedMs - asOfMs;
  if (ageMs > maxStalenessMs + slackMs + CLOCK_BEHIND_MS) {
    return `${verdict} as of ${ageMs.toFixed(0)} ms before the call, beyond its max_staleness of ${maxStalenessMs} ms`;
  }
  if (asOfMs > endedMs + slackMs) return `${verdict} as of ${(asOfMs - endedMs).toFixed(0)} ms after its own end`;
  return undefined;
}

/** The ends of acknowledged changes in order, by process and subject. */
type Acknowledged = ReadonlyMap<string, readonly number[]>;

function acknowledgements({ operations }: History): Acknowledged {
  const ends = new Map<string, number[]>();
  for (const operation of operations) {
    if (!isChange(operation) || operation.outcome.kind !== "ok") continue;
    const place = `${operation.process} ${operation.subject}`;
    const list = ends.get(place) ?? [];
    list.push(operation.endedMs);
    ends.set(place, list);
  }
  return ends;
}

function verdictFault(verify: Verify, truth: Truth, acknowledged: Acknowledged, history: History): string | undefined {
  const { keyId, process, startedMs, endedMs, verdict } = verify;
  const owner = truth.keys.get(keyId)?.[0]?.value.ownerId ?? "";
  const slackMs = ROUNDING_MS + history.clockDriftMs;
  const fromOf = (subject: string) => {
    const floorMs = acknowledged.get(`${process} ${subject}`)?.findLast((endMs) => endMs < startedMs) ?? 0;
    return Math.max(verify.asOfMs! - slackMs, floorMs);
  };
  const from = { keyMs: fromOf(keyId), ownerMs: fromOf(owner) };
  const explained = explanations(verify, truth, from, owner);
  if (explained === undefined || explained.has(verdict!)) return undefined;
  const since = `${(endedMs - Math.min(from.keyMs, from.ownerMs)).toFixed(0)} ms`;
  return `process ${process} says ${verdict}; of the last ${since}, which it may rest on, only ${[...explained].join(" or ")} is true`;
}

/** The call of a verdict. */
type Judged = Pick<Verify, "keyId" | "secret" | "scope" | "limit" | "startedMs" | "endedMs">;

/** The verdicts that some state in the time span explains; undefined if the history does not know the secret. */
export function explanations(
  verify: Judged,
  truth: Truth,
  from: { readonly keyMs: number; readonly ownerMs: number },
  owner: string,
): Set<string> | undefined {
  const { endedMs, startedMs } = verify;
  const secrets = truth.secrets.get(verify.secret);
  if (secrets === undefined) return undefined;
  const verdicts = new Set<string>();
  for (const key of possible(truth.keys.get(verify.keyId), from.keyMs, endedMs)) {
    for (const state of possible(truth.owners.get(owner), from.ownerMs, endedMs)) {
      for (const secret of possible(secrets, from.keyMs, endedMs)) {
        const end = secret?.expiresAtMs;
        if (end === undefined || end > startedMs - CLOCK_BEHIND_MS) {
          verdicts.add(verdictOf({ key, ownerState: state, secret, hasSecretEnded: false }, verify.scope));
        }
        if (end !== undefined && end <= endedMs) {
          verdicts.add(verdictOf({ key, ownerState: state, secret, hasSecretEnded: true }, verify.scope));
        }
      }
    }
  }
  if (verify.limit !== undefined && verdicts.has("VALID")) verdicts.add("RATE_LIMITED");
  return verdicts;
}

/** Key, owner and secret at one moment. */
export interface Standing {
  readonly key: Pick<KeyFacts, "state" | "isDeleted" | "scopes"> | undefined;
  readonly ownerState: string | undefined;
  readonly secret: SecretFacts | undefined;
  readonly hasSecretEnded: boolean;
}

/** The verdict of the contract, written a second time: the state of the key, then owner, expiry and scopes. */
export function verdictOf({ key, ownerState, secret, hasSecretEnded }: Standing, scope: string): string {
  if (key === undefined || key.isDeleted || secret === undefined) return "INVALID";
  if (key.state === "disabled") return "DISABLED";
  if (key.state === "revoked") return "REVOKED";
  if (ownerState === "disabled") return "OWNER_DISABLED";
  if (hasSecretEnded) return "EXPIRED";
  return scope === "" || key.scopes.includes(scope) ? "VALID" : "SCOPE_MISSING";
}

/** Codes that faults may cause for any call: an unreachable database, a timeout, an overload, a lost race. */
const CODES_OF_FAULTS = ["Unavailable", "DeadlineExceeded", "ResourceExhausted", "Canceled", "Aborted"];
/** The code that a client reports for a connection that ends in the middle of a call. */
const CODES_OF_BROKEN_CONNECTIONS = ["Internal", "Unknown"];
/** A client notices the end of a process within this time. */
const NOTICED_WITHIN_MS = 2000;

export function codeViolations(history: History, truth: Truth): Violation[] {
  return history.operations.flatMap((operation) => {
    const { outcome, call, process, startedMs, endedMs } = operation;
    if (outcome.kind === "ok" || isExplainedError(operation, truth)) return [];
    const isBroken =
      outcome.reason === "" &&
      CODES_OF_BROKEN_CONNECTIONS.includes(outcome.code) &&
      history.faults.some(
        (fault) =>
          fault.endsProcesses?.includes(process) &&
          fault.startedMs <= endedMs &&
          fault.endedMs + NOTICED_WITHIN_MS >= startedMs,
      );
    if (isBroken) return [];
    const text = `${call} on process ${process} ended with ${outcome.code} ${outcome.reason}`;
    return [{ rule: "code", text, subject: subjectOf(operation), atMs: endedMs }];
  });
}

function isExplainedError(operation: Operation, truth: Truth): boolean {
  const { outcome, startedMs, endedMs } = operation;
  if (outcome.kind === "ok" || CODES_OF_FAULTS.includes(outcome.code)) return true;
  // The rules of sessions judge whether the end of a session explains it.
  if (outcome.code === "Unauthenticated") return ["refresh", "whoami", "reuse"].includes(operation.call);
  if (!isChange(operation)) return false;
  const states = possible(truth.keys.get(operation.subject), startedMs, endedMs);
  switch (outcome.reason) {
    case "KEY_NOT_FOUND":
      return states.some((state) => state === undefined || state.isDeleted);
    case "KEY_ENDED":
      return states.some((state) => state?.state === "revoked");
    case "USER_DISABLED":
      return possible(truth.owners.get(operation.ownerId ?? ""), startedMs, endedMs).includes("disabled");
    // The client repeated an issue whose answer was lost.
    case "REQUEST_ID_USED":
      return operation.call === "issue";
    default:
      return false;
  }
}

export function subjectOf(operation: Operation): string {
  switch (operation.call) {
    case "verify":
    case "near":
      return operation.keyId;
    case "limit":
      return operation.name;
    case "login":
    case "refresh":
    case "logout":
    case "whoami":
    case "reuse":
      return operation.sessionId;
    default:
      return operation.subject;
  }
}
