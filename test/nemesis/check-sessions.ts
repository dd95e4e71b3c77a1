/**
 * The rules of sessions: one successor per refresh token, no session lost except by its rules, and an acknowledged
 * logout stays. The clients of a run show only the newest refresh token and the previous one, within the grace, except
 * in a `reuse`: that ends the session.
 */
import { CLOCK_BEHIND_MS, FRESH_MS } from "./check-verdicts.ts";
import type { History, SessionCall, Violation } from "./history.ts";
import { isSessionCall, possible, type SessionFacts, type Truth } from "./truth.ts";

const ROUNDING_MS = 5;

export function sessionViolations(history: History, truth: Truth): Violation[] {
  const calls = history.operations.filter(isSessionCall);
  return [
    ...calls.flatMap((call) => {
      const text = faultOf(call, truth, calls);
      return text === undefined ? [] : [{ rule: "session", text, subject: call.sessionId, atMs: call.endedMs }];
    }),
    ...successorViolations(calls),
    ...lostSessions(truth, calls),
  ];
}

/** All answers to one refresh token must have the same successor, from whichever process they come. */
function successorViolations(calls: readonly SessionCall[]): Violation[] {
  const successors = new Map<string, string>();
  return calls.flatMap(({ call, sessionId, nextGeneration, nextDigest, endedMs }) => {
    if (call !== "refresh" || nextDigest === undefined) return [];
    const place = `${sessionId} ${nextGeneration}`;
    const first = successors.get(place) ?? nextDigest;
    successors.set(place, first);
    if (first === nextDigest) return [];
    const text = `generation ${nextGeneration} was given out as two tokens`;
    return [{ rule: "successor", text, subject: sessionId, atMs: endedMs }];
  });
}

/** A session ends by a logout, or because a client has shown a token that was replaced long ago. */
function lostSessions(truth: Truth, calls: readonly SessionCall[]): Violation[] {
  const reuses = Map.groupBy(
    calls.filter(({ call }) => call === "reuse"),
    ({ sessionId }) => sessionId,
  );
  return [...truth.sessions].flatMap(([subject, versions]) => {
    const lost = versions.find(({ value }) => value.isEnded && value.endReason !== "logout");
    if (lost === undefined) return [];
    const isReused = reuses.get(subject)?.some(({ startedMs }) => startedMs <= lost.fromMs + ROUNDING_MS);
    if (lost.value.endReason === "refresh_token_reused" && isReused) return [];
    const text = `ended as ${lost.value.endReason}, though its clients gave no reason for that`;
    return [{ rule: "session lost", text, subject, atMs: lost.fromMs }];
  });
}

function faultOf(call: SessionCall, truth: Truth, calls: readonly SessionCall[]): string | undefined {
  const { outcome, startedMs, endedMs, process } = call;
  const versions = truth.sessions.get(call.sessionId);
  if (call.call === "reuse") return reuseFault(call, possible(versions, startedMs, endedMs));
  if (outcome.kind === "error") {
    if (outcome.code !== "Unauthenticated") return undefined;
    const states = possible(versions, startedMs, endedMs);
    if (states.some((state) => state === undefined || isRefused(state, call))) return undefined;
    return `process ${process} says that a good ${call.call === "whoami" ? "access" : "refresh"} token is not (${outcome.reason})`;
  }
  switch (call.call) {
    case "refresh":
      return refreshFault(call, possible(versions, startedMs, endedMs));
    case "logout":
      if (possible(versions, startedMs, endedMs).some((state) => state?.isEnded)) return undefined;
      return `process ${process} acknowledged a logout that is not in the database`;
    case "whoami":
      return whoamiFault(call, truth, calls);
    case "login":
      return versions === undefined ? `process ${process} answered a login that is not in the database` : undefined;
    default:
      return call.call satisfies never;
  }
}

/** Whether its answer was lost or not: a call that was judged has ended the session. */
function reuseFault(call: SessionCall, states: readonly (SessionFacts | undefined)[]): string | undefined {
  const { outcome, generation, process } = call;
  if (outcome.kind === "ok") return `process ${process} took generation ${generation}, older than the newest two`;
  if (outcome.code !== "Unauthenticated" || states.some((state) => state?.isEnded)) return undefined;
  return `process ${process} refused generation ${generation}, older than the newest two, and left the session alive`;
}

/** A service may refuse a token of an ended session, or one older than the newest two. */
function isRefused(state: SessionFacts, { generation }: SessionCall): boolean {
  return state.isEnded || (generation !== undefined && generation < state.generation - 1);
}

function refreshFault(call: SessionCall, states: readonly (SessionFacts | undefined)[]): string | undefined {
  const { generation, nextGeneration, process } = call;
  if (nextGeneration !== generation! + 1) return `generation ${generation} was followed by ${nextGeneration}`;
  const isGood = states.some((state) => state !== undefined && !state.isEnded && state.generation === nextGeneration);
  return isGood
    ? undefined
    : `process ${process} refreshed to generation ${nextGeneration}, which the database does not show`;
}

/**
 * A process refuses the access token of an ended session within 5 s, even during an outage of the database. The process
 * that acknowledged the end refuses it immediately.
 */
function whoamiFault(call: SessionCall, truth: Truth, calls: readonly SessionCall[]): string | undefined {
  const { sessionId, process, startedMs, endedMs } = call;
  const loggedOut = calls.find(
    (one) =>
      one.call === "logout" &&
      one.sessionId === sessionId &&
      one.process === process &&
      one.outcome.kind === "ok" &&
      one.endedMs < startedMs,
  );
  const fromMs = Math.max(startedMs - FRESH_MS - CLOCK_BEHIND_MS - ROUNDING_MS, loggedOut?.endedMs ?? 0);
  const states = possible(truth.sessions.get(sessionId), fromMs, endedMs);
  if (states.some((state) => state !== undefined && !state.isEnded)) return undefined;
  return `process ${process} takes the access token of a session that had ended ${loggedOut === undefined ? "5 s before" : "here"}`;
}
