/** The report of a run: a summary, the excerpt that shows a violation, and the folder of a failed run. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FRESH_MS, subjectOf } from "./check-verdicts.ts";
import type { History, Operation, Violation } from "./history.ts";
import type { Trial } from "./trial.ts";

export function summaryOf({ history, violations, neighbourCommits }: Trial): string {
  const { operations, faults, followers, ledger, startedMs, endedMs } = history;
  const verifies = operations.filter(({ call }) => call === "verify");
  const nears = operations.filter((one) => one.call === "near");
  const kept = nears.filter(({ source }) => source === "near");
  const stale = operations.filter((one) => one.call === "verify" && (one.maxStalenessMs ?? 0) > FRESH_MS);
  const told = followers.flatMap(({ messages }) => messages).reduce((sum, { changes }) => sum + changes.length, 0);
  return [
    `${((endedMs - startedMs) / 1000).toFixed(0)} s, ${operations.length} operations: ${counts(operations.map(({ call }) => call))}`,
    `verdicts: ${counts(verifies.map(saidOf))}; ${stale.length} while the bound was extended`,
    `near verdicts: ${counts(nears.map(saidOf))}; ${kept.length} without a call`,
    `other answers: ${counts(operations.filter(({ call }) => call !== "verify" && call !== "near").map(saidOf))}`,
    `${ledger.length} versions of rows, ${told} changes told to ${followers.length} watchers, ${neighbourCommits} commits of the neighbour`,
    `${faults.length} faults of ${new Set(faults.map(({ kind }) => kind)).size} kinds: ${counts(faults.map(({ kind }) => kind))}`,
    `${violations.length} violations${violations.length === 0 ? "" : `: ${counts(violations.map(({ rule }) => rule))}`}`,
  ].join("\n");
}

const BEFORE_MS = 8000;
const MOST_LINES = 30;

/** The events of the subject of a violation shortly before it. Times are seconds since the start. */
export function excerptOf(history: History, violation: Violation): string {
  const { atMs, rule, text, subject } = violation;
  const fromMs = atMs - BEFORE_MS;
  const owner = history.ledger.find((row) => row.subject === subject && row.relation === "api_keys")?.facts.owner_id;
  const at = (ms: number) => ((ms - history.startedMs) / 1000).toFixed(3).padStart(8);
  const isNear = (startMs: number, endMs: number) => endMs >= fromMs && startMs <= atMs;
  const lines = [
    ...history.ledger
      .filter((row) => [subject, owner].includes(row.subject))
      .map((row) => ({ ms: row.committedMs, line: `         COMMIT ${row.relation} ${factsOf(row.facts)}` })),
    ...history.operations
      .filter((one) => [subject, owner].includes(subjectOf(one)) && isNear(one.startedMs, one.endedMs))
      .map((one) => ({
        ms: one.startedMs,
        line: `${at(one.endedMs)} process ${one.process} ${one.call} ${wordsOf(one, at)}`,
      })),
    ...history.faults
      .filter((fault) => isNear(fault.startedMs, fault.endedMs))
      .map((fault) => ({ ms: fault.startedMs, line: `${at(fault.endedMs)} FAULT ${fault.kind} ${fault.target}` })),
  ].toSorted((a, b) => a.ms - b.ms);
  const shown = lines.slice(-MOST_LINES).map(({ ms, line }) => `  ${at(ms)} ${line}`);
  return [`\n${rule}: ${subject} at ${at(atMs).trim()} s: ${text}`, ...shown].join("\n");
}

/** @returns the folder with `history.json`, `violations.txt` and each process' log */
export function keep({ history, violations, logs }: Trial, seed: number): string {
  const folder = mkdtempSync(join(tmpdir(), `latchkey-nemesis-seed-${seed}-`));
  writeFileSync(join(folder, "history.json"), JSON.stringify(history));
  writeFileSync(
    join(folder, "violations.txt"),
    violations.map((violation) => excerptOf(history, violation)).join("\n"),
  );
  for (const [process, log] of logs.entries()) writeFileSync(join(folder, `process-${process}.log`), log);
  return folder;
}

function saidOf(operation: Operation): string {
  if ((operation.call === "verify" || operation.call === "near") && operation.verdict !== undefined)
    return operation.verdict;
  const { outcome } = operation;
  return outcome.kind === "ok" ? "OK" : `${outcome.code}${outcome.reason && ` ${outcome.reason}`}`;
}

function wordsOf(operation: Operation, at: (ms: number) => string): string {
  const said = saidOf(operation);
  if (operation.call === "near" && operation.ageMs !== undefined)
    return `${operation.secret} ${operation.scope} ${said} by ${operation.source}, ${operation.ageMs.toFixed(0)} ms old`;
  if (operation.call !== "verify" || operation.asOfMs === undefined) return said;
  return `${operation.secret} ${operation.scope} ${said} as of ${at(operation.asOfMs).trim()}, max_staleness ${operation.maxStalenessMs} ms`;
}

function factsOf(facts: Readonly<Record<string, unknown>>): string {
  const shown = ["state", "deleted_at", "scopes", "generation", "ended_at", "end_reason", "digest", "expires_at"];
  return shown
    .filter((name) => facts[name] !== undefined && facts[name] !== null)
    .map((name) => `${name}=${String(facts[name]).slice(0, 24)}`)
    .join(" ");
}

function counts(words: readonly string[]): string {
  const groups = [...Map.groupBy(words, (word) => word)].toSorted(([, a], [, b]) => b.length - a.length);
  return groups.map(([word, { length }]) => `${word} ${length}`).join(", ");
}
