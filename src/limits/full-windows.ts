import type { LimitDecision, LimitRequest, NamedLimit } from "./limit.ts";

/**
 * Maximum age of a denial that is used without asking the store. Within this time the process notices a store that lost
 * its data, and a reset in another process of which it was not told.
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
 * A cache of denials: windows that are known to be full. Calls of other processes can only fill them further. So a
 * denied call stays denied until its `retryAfterMs` is over, and a caller that hammers a full window costs the store
 * nothing.
 *
 * A denial answers only for the same limits with the same figures and for the same cost. A request with a larger cost
 * or with one more limit would be denied too, but its exact `retryAfterMs` is unknown. So it asks the store, and the
 * cache then remembers its denial as well. See ADR 17.
 *
 * Times are `elapsedMs` of the clock.
 */
export class FullWindows {
  /** In the order of their latest denial. The client's package takes this file in, so it needs no other module. */
  readonly #bySubject = new Map<string, Denial[]>();
  #forgets = 0;

  /** Number of `forget` and `forgetAll` calls. Read it before asking the store, and pass it to `remember`. */
  get generation(): number {
    return this.#forgets;
  }

  /**
   * The remembered denial of an equal request, with its waits as of now; undefined = ask the store.
   *
   * @param sinceMs denials from before this time are not used
   */
  find(request: LimitRequest, nowMs: number, sinceMs: number): LimitDecision | undefined {
    const denials = this.#bySubject.get(request.subject);
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
   * Remembers a decision if it is a denial that ends. It remembers nothing if `forget` was called since the store was
   * asked, because the answer may come from before a reset. If the same denial is already known, the earlier of the two
   * ends counts, because the answer with the later end took longer to arrive.
   */
  remember(request: LimitRequest, decision: LimitDecision, nowMs: number, generation: number): void {
    if (decision.allowed || decision.retryAfterMs === undefined || generation !== this.#forgets) return;
    const denials = this.#bySubject.get(request.subject) ?? [];
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
    this.#bySubject.delete(request.subject);
    this.#bySubject.set(request.subject, [...others.slice(-(MAX_DENIALS - 1)), denial]);
    const [oldest] = this.#bySubject.keys();
    if (this.#bySubject.size > MAX_SUBJECTS) this.#bySubject.delete(oldest!);
  }

  /** Forgets all denials of a subject. */
  forget(subject: string): void {
    this.#forgets++;
    this.#bySubject.delete(subject);
  }

  /** Forgets all denials. */
  forgetAll(): void {
    this.#forgets++;
    this.#bySubject.clear();
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

/**
 * The decision with its waits shortened by its age. Rounds up, so that a caller never comes back before the store's
 * time.
 */
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
