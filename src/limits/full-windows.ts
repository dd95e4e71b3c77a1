import { Lru } from "../lib/lru.ts";
import type { LimitDecision, LimitRequest, NamedLimit } from "./limit.ts";

/**
 * How long a denial is believed without asking again: what an operator reset elsewhere, or what a store lost, is noticed
 * within this time.
 */
const BELIEVED_MS = 5_000;
const MAX_SUBJECTS = 10_000;
const MAX_DENIALS = 8;

interface Denial {
  readonly limits: readonly NamedLimit[];
  readonly cost: number;
  readonly decision: LimitDecision & { readonly retryAfterMs: number };
  readonly atMs: number;
}

/**
 * Windows known to be full. Others' calls can only fill them further, so a denied call stays denied until its
 * `retryAfterMs` is over, and callers who hammer a full window cost the store nothing.
 *
 * A denial answers for the same limits (a figure changed is another limit) and the same cost. A larger cost, or one more
 * limit beside the full one, would be denied too, but when it would succeed is not known, and that is promised; so it
 * asks, and then is known as well. See ADR 17.
 *
 * Times are `elapsedMs` of the clock.
 */
export class FullWindows {
  readonly #bySubject = new Lru<string, Denial[]>(MAX_SUBJECTS);
  #forgets = 0;

  /** To be read before the store is asked, and given to `remember`. */
  get generation(): number {
    return this.#forgets;
  }

  /**
   * The denial of such a request as it reads now; undefined = the store must be asked.
   * @param sinceMs denials of before are not believed
   */
  find(request: LimitRequest, nowMs: number, sinceMs: number): LimitDecision | undefined {
    const denials = this.#bySubject.peek(request.subject);
    if (denials === undefined) return undefined;
    const denial = denials.find((one) => isFor(one, request));
    if (denial === undefined) return undefined;
    const ageMs = nowMs - denial.atMs;
    const isBelieved = ageMs < BELIEVED_MS && denial.atMs >= sinceMs;
    if (isBelieved && ageMs < denial.decision.retryAfterMs) return aged(denial.decision, ageMs);
    this.#drop(request.subject, denials, denial);
    return undefined;
  }

  /**
   * Remembers a decision if it is a denial that ends, and nothing was forgotten since the store was asked: an answer may be
   * of before a reset. Of two ends of the same denial the earlier one counts, since the other answer was on its way longer.
   */
  remember(request: LimitRequest, decision: LimitDecision, nowMs: number, generation: number): void {
    if (decision.allowed || decision.retryAfterMs === undefined || generation !== this.#forgets) return;
    const denials = this.#bySubject.peek(request.subject) ?? [];
    const known = denials.find((one) => isFor(one, request));
    const endMs = nowMs + decision.retryAfterMs;
    if (known !== undefined && endOf(known) > nowMs && endOf(known) <= endMs) return;
    const denial = {
      limits: request.limits,
      cost: request.cost,
      decision: { ...decision, retryAfterMs: decision.retryAfterMs },
      atMs: nowMs,
    };
    const others = denials.filter((one) => one !== known);
    this.#bySubject.set(request.subject, [...others.slice(-(MAX_DENIALS - 1)), denial]);
  }

  /** Forgets what is known of a subject. */
  forget(subject: string): void {
    this.#forgets++;
    this.#bySubject.delete(subject);
  }

  #drop(subject: string, denials: readonly Denial[], denial: Denial): void {
    const others = denials.filter((one) => one !== denial);
    if (others.length === 0) this.#bySubject.delete(subject);
    else this.#bySubject.set(subject, others);
  }
}

function isFor(denial: Denial, request: LimitRequest): boolean {
  return (
    denial.cost === request.cost &&
    denial.limits.length === request.limits.length &&
    denial.limits.every((limit, at) => isSame(limit, request.limits[at]!))
  );
}

function endOf({ atMs, decision }: Denial): number {
  return atMs + decision.retryAfterMs;
}

function isSame(a: NamedLimit, b: NamedLimit): boolean {
  return a.name === b.name && a.perMinute === b.perMinute && a.perDay === b.perDay;
}

/** Rounded up, so that nobody is told a time before that of the store. */
function aged(decision: Denial["decision"], ageMs: number): LimitDecision {
  return {
    ...decision,
    retryAfterMs: Math.ceil(decision.retryAfterMs - ageMs),
    windows: decision.windows.map((window) => ({
      ...window,
      resetAfterMs: Math.max(0, Math.ceil(window.resetAfterMs - ageMs)),
    })),
  };
}
