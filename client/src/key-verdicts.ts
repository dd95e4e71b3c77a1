import { keyFormOf, keyIdOf } from "../../src/keys/key-form.ts";
import type { AgeClock } from "../../src/lib/clock.ts";
import { ownText } from "../../src/lib/text.ts";
import type { Counted, CountedCall, Counting } from "./counting/counting.ts";
import { type GroupCommit, noVerdictIn, type VerifyKeyInit } from "./group-commit.ts";
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

interface AskOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly counted?: CountedCall | undefined;
}

const NO_WINDOWS: readonly RateLimitWindow[] = Object.freeze([]);

/**
 * The way of a key to its verdict: a kept and fresh record, with the limits that can be met without a call; else a
 * call, in a batch with others; else, if the service is unreachable and the user allows it, a record that is older.
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
    return alone ?? this.#ask(request, call, signal);
  }

  /** The verdict by a call that counts nothing, whatever is kept. @throws the failure of the call */
  async byCall(request: VerifyRequest): Promise<Verdict> {
    const again = { ...request, cost: 0, limits: [] };
    return this.#call(again, verifyKeyInit(again), { timeoutMs: this.#deps.deadlineMs });
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
    this.byCall(request).catch(() => {});
  }

  /** The verdict by a call; if it fails, and that allows it, by an old record. */
  async #ask(request: VerifyRequest, call: VerifyKeyInit, signal: AbortSignal | undefined): Promise<Verdict> {
    const { near, outage } = this.#deps;
    const timeoutMs = await this.#leftOnceSettled(request.apiKey);
    signal?.throwIfAborted();
    const counted = near?.counting.began(keyIdIn(request.apiKey), request.cost ?? 1);
    try {
      return await this.#call(request, call, { timeoutMs, signal, counted });
    } catch (error) {
      near?.counting.ended(counted!);
      const stale = !signal?.aborted && outage.allowsOld(error) ? this.#stale(request) : undefined;
      if (stale !== undefined) return stale;
      near?.counting.lost(counted!);
      signal?.throwIfAborted();
      throw error;
    }
  }

  /**
   * The time that is left for the call, once the service knows what was admitted of this key.
   *
   * @throws LatchkeyUnavailable if none is left
   */
  async #leftOnceSettled(apiKey: string): Promise<number> {
    const { near, clock, deadlineMs } = this.#deps;
    const settled = near?.counting.settled(keyIdIn(apiKey));
    if (settled === undefined) return deadlineMs;
    const beganAtMs = clock.monotonicMs();
    await settled;
    const leftMs = Math.ceil(deadlineMs - (clock.monotonicMs() - beganAtMs));
    if (leftMs < 1) throw noVerdictIn(deadlineMs);
    return leftMs;
  }

  async #call(request: VerifyRequest, call: VerifyKeyInit, options: AskOptions): Promise<Verdict> {
    const { commit, knownKeys, near, clock } = this.#deps;
    const { counted, ...rest } = options;
    const isKnown = knownKeys.has(request.apiKey);
    const { response, exchange } = await commit.verify(call, { ...rest, isKnown });
    if (response.key !== undefined && !isKnown) knownKeys.add(request.apiKey);
    const verdict = verdictOf(response, clock.elapsedMs() - exchange.sentAtMs);
    if (near === undefined) return verdict;
    if (!near.isOff()) near.cache.keep(exchange, request, response);
    if (counted !== undefined) {
      near.counting.ended(counted);
      near.counting.answered(counted, request, response, { verdict, sentAtMs: exchange.sentAtMs });
    }
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

/** The id in the text, if it has the form of a key. It does not keep the text in memory. */
function keyIdIn(apiKey: string): string | undefined {
  const form = keyFormOf(apiKey);
  return form && ownText(keyIdOf("api", form.id));
}

function nearVerdict(judgement: NearJudgement, counted: Counted | undefined, degraded: boolean): Verdict {
  const { key, ageMs, epoch } = judgement;
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
    ...(epoch !== 0n && { position: BigInt(judgement.position), epoch }),
  });
}
