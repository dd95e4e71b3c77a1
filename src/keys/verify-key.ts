import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Loaded } from "../changes/record-cache.ts";
import { invalidFields, type Violation } from "../lib/errors.ts";
import { normalizeIp } from "../lib/ip.ts";
import { textViolation } from "../lib/text.ts";
import {
  type LimitDecision,
  type Limiter,
  type LimitRequest,
  type NamedLimit,
  NOT_LIMITED,
  type WindowStatus,
} from "../limits/limit.ts";
import { judgeKey, type KeyUse, type Verdict } from "./judge-key.ts";
import { scopeFault } from "./key-fields.ts";
import type { KeyRecord, KeyRecords } from "./key-records.ts";
import { type KeyFormat, type ParsedKey, parseKey } from "./key-secret.ts";
import { keySubject, limitViolations } from "./limit-requests.ts";
import type { UsageRecorder } from "./usage-recorder.ts";

export interface VerifyKeyDeps {
  readonly records: Pick<KeyRecords, "fresh" | "find" | "findAll">;
  readonly limiter: Pick<Limiter, "decide" | "decideAll">;
  readonly usage: Pick<UsageRecorder, "used">;
  readonly format: KeyFormat;
  readonly databaseClock: DatabaseClock;
}

export interface VerifyKeyInput extends KeyUse {
  /** The text that the caller presented; any text at all. */
  readonly rawKey: string;
  /** 0 reads the limits without counting. */
  readonly cost: number;
  /** Further limits of the calling service. */
  readonly limits: readonly NamedLimit[];
  /** If not empty, keys of another environment are invalid. */
  readonly environment: string;
}

/** How old the record is on which a verdict is based. */
export interface Freshness {
  readonly source: "cache" | "database";
  /** By the database's clock. */
  readonly asOfMs: number;
  /** The maximum age of any record used at that moment. */
  readonly maxStalenessMs: number;
  /** The record includes all changes of lower position. */
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
const MAX_SCOPES = 64;
/** Maximum length of a tier or an environment in a request; configured ones are shorter. */
const MAX_WORD_LENGTH = 64;

/**
 * Judges a key and counts the call against its limits. Returns a verdict without a promise if everything needed is in
 * memory. A refused key is a verdict, too; an error means that there is no verdict.
 *
 * @throws INVALID_FIELD, DATABASE_UNAVAILABLE, MASTER_KEY_MISSING; also as a rejection
 */
export function verifyKey(deps: VerifyKeyDeps, input: VerifyKeyInput): KeyVerdict | Promise<KeyVerdict> {
  checkUse(input);
  const known = knownRecord(deps, input);
  if (known !== undefined) return admit(deps, input, judge(deps, input, known));
  const parsed = candidate(deps.format, input);
  if (parsed === undefined) return INVALID_BY_FORM;
  return deps.records.find(input.rawKey, parsed.keyId).then((loaded) => admit(deps, input, judge(deps, input, loaded)));
}

function admit(deps: VerifyKeyDeps, input: VerifyKeyInput, judged: KeyVerdict): KeyVerdict | Promise<KeyVerdict> {
  const request = limitRequest(judged, input);
  const decision = request && deps.limiter.decide(request);
  if (decision instanceof Promise) return decision.then((decided) => settle(deps, judged, decided));
  return settle(deps, judged, decision);
}

/** @throws INVALID_FIELD for a mistake of the calling service, whatever the key */
export function checkUse(input: VerifyKeyInput): void {
  const faults: Violation[] = limitViolations(input.cost, input.limits);
  if (input.clientIp !== "" && normalizeIp(input.clientIp) === undefined) {
    faults.push({ field: "client_ip", description: "must be an IPv4 or IPv6 address without a zone" });
  }
  addText(faults, "method", input.method, MAX_METHOD_LENGTH);
  if (input.requiredScopes.length > MAX_SCOPES) {
    faults.push({ field: "required_scopes", description: `must have at most ${MAX_SCOPES} entries` });
  } else {
    for (const [index, scope] of input.requiredScopes.entries()) {
      const description = scopeFault(scope);
      if (description !== undefined) faults.push({ field: `required_scopes[${index}]`, description });
    }
  }
  if (input.allowedTiers.length > MAX_SCOPES) {
    faults.push({ field: "allowed_tiers", description: `must have at most ${MAX_SCOPES} entries` });
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
export function knownRecord(deps: VerifyKeyDeps, input: VerifyKeyInput): Loaded<KeyRecord> | undefined {
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
export function judge(deps: VerifyKeyDeps, input: VerifyKeyInput, loaded: Loaded<KeyRecord>): KeyVerdict {
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
export function settle(deps: VerifyKeyDeps, judged: KeyVerdict, decision: LimitDecision | undefined): KeyVerdict {
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
