import type { VerifyKeyInput } from "../../../src/keys/check-use.ts";
import { isOfEnvironment, judgeKey, VERDICT_NAMES } from "../../../src/keys/judge-key.ts";
import { keyFormOf, RESERVED_ENVIRONMENTS } from "../../../src/keys/key-form.ts";
import { MINUTE_MS } from "../../../src/lib/clock.ts";
import type { NamedLimit, VerdictName, VerifiedKey } from "../verdict.ts";
import type { DatabaseTime } from "./database-time.ts";
import type { NearRecord } from "./near-record.ts";

/** A judgement of a kept record, or of the form of a key, without a call. No limit was counted for it. */
export interface NearJudgement {
  /** VALID: the call may go on once its limits are counted; see `isCounted`. Every other verdict is final. */
  readonly verdict: VerdictName;
  /** Deeply frozen, and the same object for each judgement of one record. undefined for INVALID. */
  readonly key: VerifiedKey | undefined;
  /** How long ago the record was surely true; 0 if the form alone decided. */
  readonly ageMs: number;
  /** The epoch of `position`; 0 if it is not known. */
  readonly epoch: bigint;
  /** The verdict knows of all changes up to this position; 0 if it is not known. */
  readonly position: number;
  /** The key's own limit: one entry without a name, or none. A shared, frozen list. */
  readonly ownLimits: readonly NamedLimit[];
  /** Whether the key is VALID, and a limit with a figure applies, of the key or of the request: also for a cost of 0. */
  readonly isCounted: boolean;
  /**
   * Whether this key is to be verified by a call of cost 0, so that its last_use_time moves. True once a minute at
   * most: the judgement that says so must lead to the call.
   */
  readonly isRecheckDue: boolean;
}

const NO_LIMITS: readonly NamedLimit[] = Object.freeze([]);

/** The judgement of a text that can't be an API key. */
export const INVALID_BY_FORM: NearJudgement = Object.freeze(invalidJudgement(0));

/** The times of a judgement. */
export interface JudgedAt {
  /** `elapsedMs` now. */
  readonly nowMs: number;
  readonly ageMs: number;
  /** The stream's. */
  readonly epoch: bigint;
  readonly databaseTime: Pick<DatabaseTime, "at">;
}

/** Whether a text has the form of an API key. Which prefix and which environments there are, the service judges. */
export function mayBeApiKey(text: string): boolean {
  const form = keyFormOf(text);
  return form !== undefined && !RESERVED_ENVIRONMENTS.includes(form.environment);
}

export function invalidJudgement(ageMs: number): NearJudgement {
  const nothing = { key: undefined, ownLimits: NO_LIMITS, isCounted: false, isRecheckDue: false };
  return { verdict: "INVALID", ageMs, epoch: 0n, position: 0, ...nothing };
}

/**
 * Judges a kept record as the service judges its own. undefined if the verdict depends on the database's time, which is
 * not known well enough. Moves the recheck of a VALID key that is due.
 */
export function judgementOf(record: NearRecord, input: VerifyKeyInput, at: JudgedAt): NearJudgement | undefined {
  const { verified, ownLimits, position } = record;
  const { nowMs, ageMs } = at;
  // Asked first, because it spares most judgements the read of `verified`, which is in no processor's cache.
  const isAny = input.environment === "";
  if (!isAny && !isOfEnvironment(input.environment, verified.environment)) return invalidJudgement(ageMs);
  const verdict = verdictAt(record, input, at);
  if (verdict === undefined) return undefined;
  const epoch = record.isWatched ? at.epoch : 0n;
  if (verdict !== "VALID") {
    return { verdict, key: verified, ageMs, epoch, position, ownLimits, isCounted: false, isRecheckDue: false };
  }
  const isCounted = ownLimits.length > 0 || input.limits.some(hasFigure);
  const isRecheckDue = nowMs >= record.recheckAtMs;
  if (isRecheckDue) record.recheckAtMs = Math.floor(nowMs) + MINUTE_MS;
  return { verdict, key: verified, ageMs, epoch, position, ownLimits, isCounted, isRecheckDue };
}

/**
 * A key with an end is judged at both ends of the interval of the database's time. Where they differ, only the service
 * knows.
 */
function verdictAt(record: NearRecord, input: VerifyKeyInput, at: JudgedAt): VerdictName | undefined {
  if (record.key.expiresAtMs === undefined && record.secretExpiresAtMs === undefined) {
    return VERDICT_NAMES[judgeKey(record, input, 0)];
  }
  const time = at.databaseTime.at(at.nowMs);
  const verdict = judgeKey(record, input, time?.hiMs ?? Number.POSITIVE_INFINITY);
  const earlier = judgeKey(record, input, time?.loMs ?? Number.NEGATIVE_INFINITY);
  return verdict === earlier ? VERDICT_NAMES[verdict] : undefined;
}

function hasFigure(limit: NamedLimit): boolean {
  return limit.perMinute !== undefined || limit.perDay !== undefined;
}
