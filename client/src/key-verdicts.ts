import type { AgeClock } from "../../src/lib/clock.ts";
import type { Counted, Counting } from "./counting/counting.ts";
import type { GroupCommit, VerifyKeyInit } from "./group-commit.ts";
import type { KnownKeys } from "./known-keys.ts";
import type { NearCache } from "./near/near-cache.ts";
import type { NearJudgement } from "./near/near-judgement.ts";
import type { Outage } from "./outage.ts";
import { verifyKeyInit } from "./request.ts";
import type { Answer } from "./service-calls.ts";
import { type RateLimitWindow, type Verdict, type VerifyRequest, verdictOf } from "./verdict.ts";

/** Near verification, if it is on. */
export interface Near {
  readonly cache: Pick<NearCache, "judge" | "judgeStale" | "keep">;
  readonly counting: Counting;
  /** Records up to this age are used while the service is unreachable; 0: none. */
  readonly staleOkMs: number;
  /** Whether the stream found that the service is older than near verification. */
  readonly isOff: () => boolean;
}

export interface KeyVerdictsDeps {
  readonly commit: GroupCommit<Answer>;
  readonly knownKeys: KnownKeys;
  readonly outage: Pick<Outage, "isOpen" | "allowsOld">;
  readonly near: Near | undefined;
  readonly clock: AgeClock;
  readonly deadlineMs: number;
}

const NO_WINDOWS: readonly RateLimitWindow[] = Object.freeze([]);

/**
 * The way of a key to its verdict: a kept and fresh record, with the limits that can be met without a call; else a call,
 * in a batch with others; else, if the service is unreachable and the user allows it, a record that is older.
 */
export class KeyVerdicts {
  readonly #deps: KeyVerdictsDeps;
  readonly counts = { hits: 0, misses: 0, stale: 0, rechecks: 0 };

  constructor(deps: KeyVerdictsDeps) {
    this.#deps = deps;
  }

  /**
   * The verdict without a call; undefined if one is needed.
   *
   * @throws LatchkeyRequestError
   */
  near(request: VerifyRequest): Verdict | undefined {
    const judgement = this.#judge(request);
    const verdict = judgement && this.#withoutCall(judgement, request);
    if (verdict !== undefined) this.counts.hits++;
    return verdict;
  }

  /** @throws the failure of the call, if there is no verdict; the signal's reason */
  async verify(request: VerifyRequest, signal: AbortSignal | undefined): Promise<Verdict> {
    const judgement = this.#judge(request);
    const verdict = judgement && this.#withoutCall(judgement, request);
    if (verdict !== undefined) {
      this.counts.hits++;
      return verdict;
    }
    const call = verifyKeyInit(request);
    if (this.#deps.near !== undefined) this.counts.misses++;
    const alone = this.#deps.outage.isOpen ? this.#stale(request) : undefined;
    if (alone !== undefined) return alone;
    try {
      return await this.#ask(request, call, judgement?.key?.id, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const stale = this.#deps.outage.allowsOld(error) ? this.#stale(request) : undefined;
      if (stale === undefined) throw error;
      return stale;
    }
  }

  #judge(request: VerifyRequest): NearJudgement | undefined {
    const { near } = this.#deps;
    return near === undefined || near.isOff() ? undefined : near.cache.judge(request);
  }

  #withoutCall(judgement: NearJudgement, request: VerifyRequest): Verdict | undefined {
    const counted = judgement.isCounted ? this.#deps.near!.counting.decide(judgement, request) : undefined;
    if (judgement.isCounted && counted === undefined) return undefined;
    if (judgement.isRecheckDue) this.#recheck(request);
    return nearVerdict(judgement, counted, false);
  }

  /** The call that a key needs although it was judged near. Its outcome changes no verdict that was given. */
  #recheck(request: VerifyRequest): void {
    this.counts.rechecks++;
    const again = { ...request, cost: 0, limits: [] };
    this.#ask(again, verifyKeyInit(again), undefined, undefined).catch(() => {});
  }

  async #ask(
    request: VerifyRequest,
    call: VerifyKeyInit,
    keyId: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Verdict> {
    const { commit, knownKeys, near, clock, deadlineMs } = this.#deps;
    const isKnown = keyId !== undefined || knownKeys.has(request.apiKey);
    const counted = near?.counting.asked(keyId);
    const { response, exchange } = await commit.verify(call, { timeoutMs: deadlineMs, signal, isKnown });
    if (response.key !== undefined && !isKnown) knownKeys.add(request.apiKey);
    const verdict = verdictOf(response, clock.elapsedMs() - exchange.sentAtMs);
    if (near === undefined || near.isOff()) return verdict;
    near.cache.keep(exchange, request, response);
    near.counting.answered(counted!, request, response, { verdict, sentAtMs: exchange.sentAtMs });
    return verdict;
  }

  /** The verdict of a record that is older than its bound, while the service is unreachable. */
  #stale(request: VerifyRequest): Verdict | undefined {
    const { near } = this.#deps;
    if (near === undefined || near.staleOkMs === 0 || near.isOff()) return undefined;
    const judgement = near.cache.judgeStale(request, near.staleOkMs);
    if (judgement === undefined) return undefined;
    const counted = judgement.isCounted ? near.counting.decideAlone(judgement, request) : undefined;
    if (judgement.isCounted && counted === undefined) return undefined;
    this.counts.stale++;
    return nearVerdict(judgement, counted, true);
  }
}

function nearVerdict(judgement: NearJudgement, counted: Counted | undefined, degraded: boolean): Verdict {
  const { key, ageMs } = judgement;
  const verdict = counted?.allowed === false ? "RATE_LIMITED" : judgement.verdict;
  return Object.freeze({
    valid: verdict === "VALID",
    verdict,
    ...(key !== undefined && { key }),
    rateLimits: counted?.rateLimits ?? NO_WINDOWS,
    ...(counted?.retryAfterMs !== undefined && { retryAfterMs: counted.retryAfterMs }),
    degraded: degraded || counted?.degraded === true,
    source: "near" as const,
    ageMs,
  });
}
