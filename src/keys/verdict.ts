import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Loaded } from "../changes/record-cache.ts";
import { invalidFields, type Violation } from "../lib/errors.ts";
import { normalizeIp } from "../lib/ip.ts";
import { scopeFault } from "../lib/scope.ts";
import { textViolation } from "../lib/text.ts";
import {
  type LimitDecision,
  type LimitRequest,
  type NamedLimit,
  NOT_LIMITED,
  type WindowStatus,
} from "../limits/limit.ts";
import { judgeKey, type KeyUse, type Verdict } from "./judge-key.ts";
import type { KeyRecord, KeyRecords } from "./key-records.ts";
import { type KeyFormat, type ParsedKey, parseKey } from "./key-secret.ts";
import { keySubject, limitViolations } from "./limit-requests.ts";
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

/** One request for a verdict. */
export interface VerifyKeyInput extends KeyUse {
  /** The text that the caller presented; any text at all. */
  readonly rawKey: string;
  /** 0 reads the limits without counting. */
  readonly cost: number;
  /** Limits that the calling service adds to the key's own. */
  readonly limits: readonly NamedLimit[];
  /** If not empty, keys of another environment are invalid. */
  readonly environment: string;
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

const MAX_METHOD_LENGTH = 1024;
/** Maximum required scopes, and maximum allowed tiers, of one request. */
const MAX_LIST = 64;
/** Maximum length of a tier or an environment in a request; configured ones are shorter. */
const MAX_WORD_LENGTH = 64;

/** Checks what the calling service sent, whatever the key is. @throws INVALID_FIELD that names every fault */
export function checkUse(input: VerifyKeyInput): void {
  const faults: Violation[] = limitViolations(input.cost, input.limits);
  if (input.clientIp !== "" && normalizeIp(input.clientIp) === undefined) {
    faults.push({ field: "client_ip", description: "must be an IPv4 or IPv6 address without a zone" });
  }
  addText(faults, "method", input.method, MAX_METHOD_LENGTH);
  if (input.requiredScopes.length > MAX_LIST) {
    faults.push({ field: "required_scopes", description: `must have at most ${MAX_LIST} entries` });
  } else {
    for (const [index, scope] of input.requiredScopes.entries()) {
      const description = scopeFault(scope);
      if (description !== undefined) faults.push({ field: `required_scopes[${index}]`, description });
    }
  }
  if (input.allowedTiers.length > MAX_LIST) {
    faults.push({ field: "allowed_tiers", description: `must have at most ${MAX_LIST} entries` });
  } else {
    input.allowedTiers.forEach((tier, index) => {
      addText(faults, `allowed_tiers[${index}]`, tier, MAX_WORD_LENGTH);
    });
  }
  addText(faults, "environment", input.environment, MAX_WORD_LENGTH);
  if (faults.length > 0) throw invalidFields(faults);
}

function addText(faults: Violation[], field: string, text: string, max: number): void {
  if (text === "") return;
  const violation = textViolation(field, text, { min: 1, max });
  if (violation !== undefined) faults.push(violation);
}

/**
 * The record of an API key that was verified before and is fresh in memory. A digest of the whole key finds it, so its
 * form need not be checked again.
 */
export function knownRecord(deps: VerdictDeps, input: VerifyKeyInput): Loaded<KeyRecord> | undefined {
  const known = deps.records.fresh(input.rawKey);
  const key = known?.record?.key;
  if (key === undefined || key.kind !== "api") return undefined;
  return input.environment !== "" && input.environment !== key.environment ? undefined : known;
}

/** The parsed key, if the text may be an API key by its form; service credentials never are. */
export function candidate(format: KeyFormat, input: VerifyKeyInput): ParsedKey | undefined {
  const parsed = parseKey(format, input.rawKey);
  if (parsed === undefined || parsed.kind !== "api") return undefined;
  return input.environment !== "" && input.environment !== parsed.environment ? undefined : parsed;
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
