import type { NamedLimit, VerdictName, VerifiedKey } from "../verdict.ts";

/** A judgement of a kept record, or of the form of a key, without a call. No limit was counted for it. */
export interface NearJudgement {
  /** VALID: the call may go on once its limits are counted; see `isCounted`. Every other verdict is final. */
  readonly verdict: VerdictName;
  /** Deeply frozen, and the same object for each judgement of one record. undefined for INVALID. */
  readonly key: VerifiedKey | undefined;
  /** How long ago the record was surely true; 0 if the form alone decided. */
  readonly ageMs: number;
  /** The key's own limit: one entry without a name, or none. A shared, frozen list. */
  readonly ownLimits: readonly NamedLimit[];
  /** Whether the key is VALID, and a limit with a figure applies, of the key or of the request: also for a cost of 0. */
  readonly isCounted: boolean;
  /**
   * Whether this key is to be verified by a call of cost 0, so that its last_use_time moves. True once a minute at most:
   * the judgement that says so is the one that must lead to the call.
   */
  readonly isRecheckDue: boolean;
}
