import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Loaded } from "../changes/record-cache.ts";
import { type LimitDecision, type LimitRequest, NOT_LIMITED, type WindowStatus } from "../limits/limit.ts";
import type { VerifyKeyInput } from "./check-use.ts";
import { isOfEnvironment, judgeKey, type Verdict } from "./judge-key.ts";
import { type KeyFormat, type ParsedKey, parseKey } from "./key-form.ts";
import type { KeyRecord, KeyRecords } from "./key-records.ts";
import { keySubject } from "./limit-requests.ts";
import type { UsageRecorder } from "./usage-recorder.ts";

/*
 * The steps of a verification, in their order: check the request, find the record, judge it, count the limits, add the
 * limiter's decision. VerifyKey and BatchVerifyKeys run the same steps, so that they can't disagree. No step in this
 * file waits.
 */

/** The dependencies of each verification, of one key or of many. */
export interface VerdictDeps {
  readonly records: Pick<KeyRecords, "fresh">;
  readonly usage: Pick<UsageRecorder, "used">;
  readonly format: KeyFormat;
  readonly databaseClock: DatabaseClock;
}

/** The age of the record behind a verdict. */
export interface Freshness {
  readonly source: "cache" | "database";
  /** By the database's clock. */
  readonly asOfMs: number;
  /** The maximum age of any record used at that moment. */
  readonly maxStalenessMs: number;
  /** The record contains everything that a snapshot of this position sees. */
  readonly position: bigint;
  /** The epoch of the position, as `epochNumber`; 0 = not known. */
  readonly epoch: bigint;
  /** The moment as of which the record is true, by `elapsedMs`. */
  readonly trueAtMs: number;
}

export interface KeyVerdict {
  readonly verdict: Verdict;
  /** Only if the secret matched. */
  readonly record: KeyRecord | undefined;
  readonly windows: readonly WindowStatus[];
  /** Only for rate_limited, and only if waiting helps. */
  readonly retryAfterMs: number | undefined;
  /** undefined if the form alone decided. */
  readonly freshness: Freshness | undefined;
  readonly degraded: boolean;
}

/** The verdict for a text that can't be a key; nothing was looked up. */
export const INVALID_BY_FORM: KeyVerdict = Object.freeze({
  verdict: "invalid",
  record: undefined,
  windows: NOT_LIMITED.windows,
  retryAfterMs: undefined,
  freshness: undefined,
  degraded: false,
});

/**
 * The record of an API key that was verified before and is fresh in memory. A digest of the whole key finds it, so its
 * form need not be checked again.
 */
export function knownRecord(deps: VerdictDeps, input: VerifyKeyInput): Loaded<KeyRecord> | undefined {
  const known = deps.records.fresh(input.rawKey);
  const key = known?.record?.key;
  if (key === undefined || key.kind !== "api") return undefined;
  return isOfEnvironment(input.environment, key.environment) ? known : undefined;
}

/** The parsed key, if the text may be an API key by its form; service credentials never are. */
export function candidate(format: KeyFormat, input: VerifyKeyInput): ParsedKey | undefined {
  const parsed = parseKey(format, input.rawKey);
  if (parsed === undefined || parsed.kind !== "api") return undefined;
  return isOfEnvironment(input.environment, parsed.environment) ? parsed : undefined;
}

/** The verdict without the limits. */
export function judge(deps: VerdictDeps, input: VerifyKeyInput, loaded: Loaded<KeyRecord>): KeyVerdict {
  const { record } = loaded;
  return {
    verdict: record === undefined ? "invalid" : deps.databaseClock.judge((atMs) => judgeKey(record, input, atMs)),
    record,
    windows: NOT_LIMITED.windows,
    retryAfterMs: undefined,
    freshness: {
      source: loaded.source,
      asOfMs: deps.databaseClock.at(loaded.asOfMs),
      maxStalenessMs: loaded.maxStalenessMs,
      position: loaded.position,
      epoch: loaded.epoch,
      trueAtMs: loaded.asOfMs,
    },
    degraded: false,
  };
}

/** The limits that a call must still meet; undefined for a key that was refused already. */
export function limitRequest(judged: KeyVerdict, input: VerifyKeyInput): LimitRequest | undefined {
  if (judged.verdict !== "valid" || judged.record === undefined) return undefined;
  const { key, ownLimits } = judged.record;
  const limits = input.limits.length === 0 ? ownLimits : [...ownLimits, ...input.limits];
  return { subject: keySubject(key.id), cost: input.cost, limits };
}

/** The verdict with the limiter's decision. Notes the use of the key if the call is allowed. */
export function withDecision(deps: VerdictDeps, judged: KeyVerdict, decision: LimitDecision | undefined): KeyVerdict {
  if (decision === undefined || judged.record === undefined) return judged;
  if (decision.allowed) deps.usage.used(judged.record.key.id, deps.databaseClock.nowMs());
  if (decision === NOT_LIMITED) return judged;
  return {
    ...judged,
    verdict: decision.allowed ? "valid" : "rate_limited",
    windows: decision.windows,
    retryAfterMs: decision.retryAfterMs,
    degraded: decision.degraded,
  };
}
