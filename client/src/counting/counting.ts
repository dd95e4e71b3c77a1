/**
 * COUNTING: how a key that is judged near meets its limits.
 *
 *   counting.ts         the two ways, `exact` and `after`, and what holds while the service is unreachable
 *   window-counters.ts  the last `remaining` of each window, less what was used since
 *   reports.ts          tells the service what was admitted without asking
 *
 * Denials are remembered by the service's own cache of denials (src/limits/full-windows.ts).
 */
import type { BatchCheckRateLimitsResponse, VerifyKeyResponse } from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AgeClock, Timers } from "../../../src/lib/clock.ts";
import { FullWindows } from "../../../src/limits/full-windows.ts";
import type { LimitDecision } from "../../../src/limits/limit.ts";
import type { NearJudgement } from "../near/near-judgement.ts";
import type { NamedLimit, RateLimitWindow, Verdict, VerifyRequest } from "../verdict.ts";
import { type ReportInit, Reports } from "./reports.ts";
import { type Admission, type Asked, WindowCounters } from "./window-counters.ts";

/**
 * `exact`: each call that a limit applies to asks the service, and never more than L is admitted in any window.
 *
 * `after`: a call is admitted at once while the last `remaining`, less what this process has admitted since, allows it,
 * and is reported within 20 ms. The first call, and the last tenth of each window, are `exact`. Processes that share a
 * key may together admit (processes - 1) * 0.9 * L more than L in a window, and further what lost reports had. They
 * admit far less as long as reports are answered, because each answer has the costs of all.
 */
export type CountingMode = "exact" | "after";

export interface CountingDeps {
  readonly mode: CountingMode;
  /** Whether windows are remembered for outages. */
  readonly isStaleAllowed: boolean;
  readonly clock: AgeClock;
  readonly timers: Timers;
  readonly send: (requests: readonly ReportInit[]) => Promise<Pick<BatchCheckRateLimitsResponse, "results">>;
}

/** The knowledge of a key's limits when a call is about to be sent. */
export interface CountedCall {
  readonly keyId: string | undefined;
  readonly cost: number;
  readonly generation: number;
  readonly asked: Asked;
}

export interface AnsweredFacts {
  readonly verdict: Verdict;
  /** `elapsedMs` before the call was sent. */
  readonly sentAtMs: number;
}

/** The part of a verdict that its limits decide. */
export type Counted = Pick<Verdict, "rateLimits" | "retryAfterMs" | "degraded"> & { readonly allowed: boolean };

/** The share of each limit that `after` leaves to exact calls. */
const EXACT_SHARE = 0.1;
/** Windows that the service told longer ago are asked about again. */
const MAX_AGE_MS = 60_000;

/** Meets the limits of keys that are judged near, without a call where that is right. */
export class Counting {
  readonly #deps: CountingDeps;
  readonly #counters = new WindowCounters();
  readonly #reports: Reports;
  readonly #denials = new FullWindows();

  constructor(deps: CountingDeps) {
    this.#deps = deps;
    const { send, clock, timers } = deps;
    this.#reports = new Reports({ send, clock, timers, counters: this.#counters });
  }

  /** The decision about a VALID key whose limits are counted; undefined: a call is needed. */
  decide(judgement: NearJudgement, request: VerifyRequest): Counted | undefined {
    const { clock, mode } = this.#deps;
    const { cost = 1 } = request;
    const keyId = judgement.key?.id;
    if (cost === 0 || keyId === undefined) return undefined;
    const limits = limitsOf(judgement.ownLimits, request.limits);
    // Read first, because it notices a suspension: denials from before are not used.
    const nowMs = clock.elapsedMs();
    const denial = this.#denials.find({ subject: keyId, cost, limits }, nowMs, clock.skippedAtMs);
    if (denial !== undefined) return countedOf(denial);
    if (mode !== "after") return undefined;
    const admission = this.#counters.admit(keyId, limits, cost, { nowMs, reserve: EXACT_SHARE, maxAgeMs: MAX_AGE_MS });
    if (admission.kind !== "admitted") return undefined;
    this.#reports.add(keyId, request.limits ?? [], cost);
    return { allowed: true, rateLimits: admission.windows, degraded: false };
  }

  /**
   * The decision while the service is unreachable: by the last `remaining`, less what this process has used since. It
   * is never reported. undefined: nothing is known of the windows.
   */
  decideAlone(judgement: NearJudgement, request: VerifyRequest): Counted | undefined {
    const { cost = 1 } = request;
    const keyId = judgement.key?.id;
    if (keyId === undefined) return undefined;
    const nowMs = this.#deps.clock.elapsedMs();
    const limits = limitsOf(judgement.ownLimits, request.limits);
    const options = { nowMs, reserve: 0, maxAgeMs: Number.POSITIVE_INFINITY };
    const admission: Admission = this.#counters.admit(keyId, limits, cost, options);
    if (admission.kind === "not known") return undefined;
    const rateLimits = admission.windows;
    if (admission.kind === "full") {
      return { allowed: false, rateLimits, retryAfterMs: admission.waitMs, degraded: true };
    }
    this.#counters.lose(keyId, cost, nowMs, false);
    return { allowed: true, rateLimits, degraded: true };
  }

  /**
   * Resolves once the service knows what was admitted of this key: a call that is sent before would be admitted beyond
   * the limit. undefined: it knows already.
   */
  settled(keyId: string | undefined): Promise<void> | undefined {
    return keyId === undefined ? undefined : this.#reports.settled(keyId);
  }

  /** Call it before a call is sent. `ended` must follow. */
  began(keyId: string | undefined, cost: number): CountedCall {
    const nowMs = this.#deps.clock.elapsedMs();
    const asked = keyId === undefined ? nothingKnown(nowMs) : this.#counters.asked(keyId, nowMs);
    if (keyId !== undefined) this.#counters.began(keyId, cost);
    return { keyId, cost, generation: this.#denials.generation, asked };
  }

  /** The call has an answer, or has failed. */
  ended({ keyId, cost }: CountedCall): void {
    if (keyId !== undefined) this.#counters.ended(keyId, cost);
  }

  /** The call has failed, and is not served: the service may have counted it. */
  lost({ keyId, cost }: CountedCall): void {
    if (keyId === undefined || !this.#usesCounters || cost === 0) return;
    this.#counters.lose(keyId, cost, this.#deps.clock.elapsedMs(), false);
  }

  /** Takes the answer to a call that was sent at `sentAtMs`: a denial, or what remains in the windows. */
  answered(call: CountedCall, request: VerifyRequest, response: VerifyKeyResponse, facts: AnsweredFacts): void {
    const { verdict, sentAtMs } = facts;
    const { key } = verdict;
    if (key === undefined || verdict.rateLimits.length === 0) return;
    // A degraded answer comes from the counters of one process, which say nothing about the shared ones.
    if (response.degraded) {
      this.#counters.forget(key.id);
      return;
    }
    const { cost } = call;
    if (verdict.verdict === "RATE_LIMITED" && cost > 0) {
      const { perMinute, perDay } = response.key?.effectiveLimits ?? {};
      const limits = limitsOf([{ name: "", perMinute, perDay }], request.limits);
      const decision = decisionOf(verdict);
      this.#denials.remember({ subject: key.id, cost, limits }, decision, sentAtMs, call.generation);
    }
    if (this.#usesCounters) this.#counters.learn(key.id, call.asked, verdict.rateLimits, verdict.valid ? cost : 0);
  }

  /** Forgets denials and counters of a key that changed: its limits may have been reset. */
  forget(keyId: string): void {
    this.#denials.forget(keyId);
    this.#counters.forget(keyId);
  }

  /** Forgets everything, because changes may have been missed. */
  forgetAll(): void {
    this.#denials.forgetAll();
    this.#counters.forgetAll();
  }

  /** Sends the reports that wait. */
  drain(): Promise<void> {
    return this.#reports.drain();
  }

  get #usesCounters(): boolean {
    return this.#deps.mode === "after" || this.#deps.isStaleAllowed;
  }
}

function nothingKnown(atMs: number): Asked {
  return { counters: undefined, includedUsed: 0, atMs };
}

/** The limits that have a figure. */
function limitsOf(own: readonly NamedLimit[], named: readonly NamedLimit[] | undefined): readonly LimitOf[] {
  const all = named === undefined || named.length === 0 ? own : [...own, ...named];
  return all.flatMap(({ name, perMinute, perDay }) =>
    perMinute === undefined && perDay === undefined ? [] : [{ name, perMinute, perDay }],
  );
}

interface LimitOf {
  readonly name: string;
  readonly perMinute: number | undefined;
  readonly perDay: number | undefined;
}

function decisionOf({ rateLimits, retryAfterMs }: Verdict): LimitDecision {
  const windows = rateLimits.map(({ windowMs, ...window }) => ({ ...window, lengthMs: windowMs }));
  return { allowed: false, retryAfterMs, windows, degraded: false };
}

function countedOf({ allowed, retryAfterMs, windows, degraded }: LimitDecision): Counted {
  const rateLimits: readonly RateLimitWindow[] = Object.freeze(
    windows.map(({ lengthMs, ...window }) => Object.freeze({ ...window, windowMs: lengthMs })),
  );
  return { allowed, rateLimits, degraded, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
