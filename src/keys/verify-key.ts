import type { DatabaseClock } from "../changes/database-clock.ts";
import type { Loaded } from "../changes/record-cache.ts";
import type { Clock } from "../lib/clock.ts";
import { invalidFields, type Violation } from "../lib/errors.ts";
import { textViolation } from "../lib/text.ts";
import type { LimitDecision, Limiter, LimitRequest, NamedLimit, WindowStatus } from "../limits/limit.ts";
import { normalizeIp } from "./allowed-ips.ts";
import { judgeKey, type KeyUse, type Verdict } from "./judge-key.ts";
import { scopeFault } from "./key-fields.ts";
import type { KeyRecord, KeyRecords } from "./key-records.ts";
import { type KeyFormat, type ParsedKey, parseKey } from "./key-secret.ts";
import { keySubject, limitViolations, ownLimit } from "./limit-requests.ts";
import type { UsageRecorder } from "./usage-recorder.ts";

export interface VerifyKeyDeps {
  readonly records: Pick<KeyRecords, "find" | "findAll">;
  readonly limiter: Pick<Limiter, "decide" | "decideAll">;
  readonly usage: Pick<UsageRecorder, "used">;
  readonly format: KeyFormat;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
}

export interface VerifyKeyInput extends KeyUse {
  /** What the caller presented. Anything at all. */
  readonly rawKey: string;
  /** 0 looks at the limits without counting. */
  readonly cost: number;
  /** Further limits of the calling service. */
  readonly limits: readonly NamedLimit[];
  /** If not empty, keys of another environment are invalid. */
  readonly environment: string;
}

/** How old the record is that a verdict rests on. */
export interface Freshness {
  readonly source: "cache" | "database";
  /** By the database's clock. */
  readonly asOfMs: number;
  /** No record older than this is used at the moment. */
  readonly maxStalenessMs: number;
  /** All changes of lower position are in the record. */
  readonly position: bigint;
}

export interface KeyVerdict {
  readonly verdict: Verdict;
  /** Only once the secret matched. */
  readonly record: KeyRecord | undefined;
  readonly windows: readonly WindowStatus[];
  /** With rate_limited, if waiting helps. */
  readonly retryAfterMs: number | undefined;
  /** undefined where the form alone decided. */
  readonly freshness: Freshness | undefined;
  readonly degraded: boolean;
}

/** A key that is no key: nothing was looked up. */
export const INVALID_BY_FORM: KeyVerdict = Object.freeze({
  verdict: "invalid",
  record: undefined,
  windows: Object.freeze([]),
  retryAfterMs: undefined,
  freshness: undefined,
  degraded: false,
});

const MAX_METHOD_LENGTH = 1024;
const MAX_SCOPES = 64;
/** Of a tier or an environment; configured ones are shorter. */
const MAX_WORD_LENGTH = 64;

/**
 * Judges a key and counts the call against its limits. A refused key is an answer; what is thrown means that there is
 * no verdict: INVALID_FIELD, DATABASE_UNAVAILABLE, MASTER_KEY_MISSING.
 */
export async function verifyKey(deps: VerifyKeyDeps, input: VerifyKeyInput): Promise<KeyVerdict> {
  checkUse(input);
  const parsed = candidate(deps.format, input);
  if (parsed === undefined) return INVALID_BY_FORM;
  const loaded = await deps.records.find(input.rawKey, parsed.keyId);
  const judged = judge(deps, input, loaded);
  const request = limitRequest(judged, input);
  if (request === undefined) return settle(deps, judged, undefined);
  return settle(deps, judged, await deps.limiter.decide(request));
}

/** @throws INVALID_FIELD for what is the calling service's mistake, whatever the key */
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

/** What could be an API key by its form; service credentials never are. */
export function candidate(format: KeyFormat, input: VerifyKeyInput): ParsedKey | undefined {
  const parsed = parseKey(format, input.rawKey);
  if (parsed === undefined || parsed.kind !== "api") return undefined;
  return input.environment !== "" && input.environment !== parsed.environment ? undefined : parsed;
}

/** Everything about a verdict but the limits. */
export function judge(deps: VerifyKeyDeps, input: VerifyKeyInput, loaded: Loaded<KeyRecord>): KeyVerdict {
  const { record } = loaded;
  const nowMs = deps.databaseClock.nowMs();
  return {
    verdict: record === undefined ? "invalid" : judgeKey(record, input, nowMs),
    record,
    windows: [],
    retryAfterMs: undefined,
    freshness: {
      source: loaded.source,
      asOfMs: nowMs - (deps.clock.monotonicMs() - loaded.asOfMs),
      maxStalenessMs: loaded.maxStalenessMs,
      position: loaded.position,
    },
    degraded: false,
  };
}

/** The limits that a call must still meet; none for a key that was refused already. */
export function limitRequest(judged: KeyVerdict, input: VerifyKeyInput): LimitRequest | undefined {
  if (judged.verdict !== "valid" || judged.record === undefined) return undefined;
  const limits = [ownLimit(judged.record.limits), ...input.limits];
  return { subject: keySubject(judged.record.key.id), cost: input.cost, limits };
}

/** The verdict with what the limiter decided, and a note of the use if the key is good. */
export function settle(deps: VerifyKeyDeps, judged: KeyVerdict, decision: LimitDecision | undefined): KeyVerdict {
  if (decision === undefined || judged.record === undefined) return judged;
  if (decision.allowed) deps.usage.used(judged.record.key.id, deps.databaseClock.nowMs());
  return {
    ...judged,
    verdict: decision.allowed ? "valid" : "rate_limited",
    windows: decision.windows,
    retryAfterMs: decision.retryAfterMs,
    degraded: decision.degraded,
  };
}
