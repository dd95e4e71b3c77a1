import { DAY_MS, MINUTE_MS } from "../../../src/lib/clock.ts";
import { Lru } from "../../../src/lib/lru.ts";
import type { NamedLimit, RateLimitWindow } from "../verdict.ts";

/** The last state of one window that the service told, and how much of the key was used at that time. */
interface Known {
  readonly window: RateLimitWindow;
  /** `elapsedMs` when the call was sent that the service answered. */
  readonly askedAtMs: number;
  /** `used` of the key up to which `window.remaining` surely includes every cost. */
  readonly includedUsed: number;
}

interface Lost {
  readonly cost: number;
  /** When it was lost. Answers to calls that were sent before count it as used since. */
  readonly fromMs: number;
  /** It leaves a window once this is older than the window. */
  readonly lastMs: number;
}

interface KeyCounters {
  /** Costs that this process has admitted, and those that the service has counted for it: all together, ever growing. */
  used: number;
  /** Costs that this process has admitted, and that no answered report includes yet. */
  untold: number;
  /** Costs of which it is not known whether the service counted them. */
  lost: readonly Lost[];
  readonly known: Map<string, Known>;
}

/** The state of a key's counters when a call or a report was sent. */
export interface Asked {
  readonly counters: KeyCounters | undefined;
  readonly includedUsed: number;
  readonly atMs: number;
}

/** A cost that fits, with the windows as they are after it; or why not. */
export type Admission =
  | { readonly kind: "admitted"; readonly windows: readonly RateLimitWindow[] }
  | { readonly kind: "full"; readonly windows: readonly RateLimitWindow[]; readonly waitMs: number }
  | { readonly kind: "not known" };

const MAX_KEYS = 10_000;
/** Windows of a key: its own two, and those of further limits. Beyond that, the oldest is forgotten. */
const MAX_WINDOWS = 64;
const MAX_LOST = 16;
const NOT_KNOWN: Admission = Object.freeze({ kind: "not known" });

/**
 * Counters of keys in this process: the last `remaining` of each window, less what was used since, and less the costs
 * of calls that are under way. All costs of a key are subtracted from each of its windows, also those that a window
 * does not count. So a counter may be too low, and this process's own calls never make it too high. It keeps 10,000
 * keys at most. Times are `elapsedMs`.
 */
export class WindowCounters {
  readonly #byKey = new Lru<string, KeyCounters>(MAX_KEYS);
  /** Costs of calls that are under way, by key: the service may admit them. */
  readonly #underWay = new Map<string, number>();

  /** Notes the state before a call about the key is sent. Pass it to `learn` with the answer. */
  asked(keyId: string, nowMs: number): Asked {
    const counters = this.#byKey.peek(keyId);
    return { counters, includedUsed: counters === undefined ? 0 : counters.used - counters.untold, atMs: nowMs };
  }

  /** A call of this cost is about to be sent. `ended` must follow. */
  began(keyId: string, cost: number): void {
    this.#underWay.set(keyId, (this.#underWay.get(keyId) ?? 0) + cost);
  }

  ended(keyId: string, cost: number): void {
    const left = (this.#underWay.get(keyId) ?? 0) - cost;
    if (left > 0) this.#underWay.set(keyId, left);
    else this.#underWay.delete(keyId);
  }

  /**
   * Takes the windows of an answer.
   *
   * @param counted the cost that the service counted for this call itself
   */
  learn(keyId: string, asked: Asked, windows: readonly RateLimitWindow[], counted: number): void {
    if (windows.length === 0) return;
    const counters = this.#byKey.get(keyId) ?? { used: 0, untold: 0, lost: [], known: new Map() };
    // Counters that were made meanwhile began at 0: then everything used counts as not included.
    const includedUsed = asked.counters === counters ? asked.includedUsed + counted : counted;
    counters.used += counted;
    this.#know(counters, windows, { askedAtMs: asked.atMs, includedUsed });
    this.#byKey.set(keyId, counters);
  }

  /**
   * Uses up the cost, if all windows of these limits surely have room for it.
   *
   * @param reserve the share of each limit that must stay free
   * @param maxAgeMs windows that the service told longer ago are not known
   */
  admit(
    keyId: string,
    limits: readonly NamedLimit[],
    cost: number,
    { nowMs, reserve, maxAgeMs }: { nowMs: number; reserve: number; maxAgeMs: number },
  ): Admission {
    const counters = this.#byKey.get(keyId);
    if (counters === undefined) return NOT_KNOWN;
    const underWay = this.#underWay.get(keyId) ?? 0;
    const windows: RateLimitWindow[] = [];
    let waitMs = 0;
    for (const [id, limit] of windowsOf(limits)) {
      const known = counters.known.get(id);
      if (known === undefined || known.window.limit !== limit || nowMs - known.askedAtMs >= maxAgeMs) return NOT_KNOWN;
      const left = remainingOf(counters, known, nowMs) - underWay;
      const resetAfterMs = Math.max(0, Math.ceil(known.window.resetAfterMs - (nowMs - known.askedAtMs)));
      if (left - cost < reserve * limit) waitMs = Math.max(waitMs, resetAfterMs, 1);
      windows.push(Object.freeze({ ...known.window, remaining: Math.max(0, left - cost), resetAfterMs }));
    }
    if (waitMs > 0) return { kind: "full", windows, waitMs };
    counters.used += cost;
    return { kind: "admitted", windows: Object.freeze(windows) };
  }

  /** The admitted cost will be reported. */
  willTell(keyId: string, cost: number): void {
    const counters = this.#byKey.peek(keyId);
    if (counters !== undefined) counters.untold += cost;
  }

  /** A report of this cost is about to be sent. Pass the result to `told`, or call `lose`. */
  telling(keyId: string, cost: number, nowMs: number): Asked {
    const { counters, includedUsed, atMs } = this.asked(keyId, nowMs);
    return { counters, includedUsed: includedUsed + (counters === undefined ? 0 : cost), atMs };
  }

  /** The service answered the report of this cost. */
  told(keyId: string, asked: Asked, windows: readonly RateLimitWindow[], cost: number): void {
    this.#noLongerUntold(keyId, cost);
    if (asked.counters === this.#byKey.peek(keyId)) this.learn(keyId, asked, windows, 0);
  }

  /**
   * There is no answer to the report, or there will be no report. The cost counts as used until each window has passed.
   */
  lose(keyId: string, cost: number, nowMs: number, wasUntold: boolean): void {
    if (wasUntold) this.#noLongerUntold(keyId, cost);
    const counters = this.#byKey.peek(keyId);
    if (counters === undefined) return;
    const young = counters.lost.filter(({ lastMs }) => nowMs - lastMs < DAY_MS);
    if (young.length >= MAX_LOST) {
      const [oldest, next] = young.splice(0, 2) as [Lost, Lost];
      young.unshift({ cost: oldest.cost + next.cost, fromMs: oldest.fromMs, lastMs: next.lastMs });
    }
    counters.lost = [...young, { cost, fromMs: nowMs, lastMs: nowMs }];
  }

  /** Forgets what the service told of this key. What it was not told yet still counts as used. */
  forget(keyId: string): void {
    const counters = this.#byKey.peek(keyId);
    if (counters === undefined) return;
    if (counters.untold === 0) this.#byKey.delete(keyId);
    else this.#byKey.set(keyId, { used: counters.untold, untold: counters.untold, lost: [], known: new Map() });
  }

  forgetAll(): void {
    this.#byKey.clear();
  }

  #noLongerUntold(keyId: string, cost: number): void {
    const counters = this.#byKey.peek(keyId);
    if (counters !== undefined) counters.untold = Math.max(0, counters.untold - cost);
  }

  #know(counters: KeyCounters, windows: readonly RateLimitWindow[], facts: Omit<Known, "window">): void {
    for (const window of windows) {
      const id = idOf(window.name, window.windowMs);
      const earlier = counters.known.get(id);
      // Of two calls that were under way together, the answer that includes more says more.
      if (earlier !== undefined && earlier.window.limit === window.limit && isLess(facts, earlier)) continue;
      counters.known.delete(id);
      counters.known.set(id, { window, ...facts });
    }
    for (const id of counters.known.keys()) {
      if (counters.known.size <= MAX_WINDOWS) return;
      counters.known.delete(id);
    }
  }
}

function isLess(a: Omit<Known, "window">, b: Known): boolean {
  return a.includedUsed < b.includedUsed || (a.includedUsed === b.includedUsed && a.askedAtMs < b.askedAtMs);
}

function remainingOf(counters: KeyCounters, known: Known, nowMs: number): number {
  const since = counters.used - known.includedUsed;
  let lost = 0;
  for (const { cost, fromMs, lastMs } of counters.lost) {
    if (known.askedAtMs >= fromMs && nowMs - lastMs < known.window.windowMs) lost += cost;
  }
  return known.window.remaining - since - lost;
}

function* windowsOf(limits: readonly NamedLimit[]): Generator<readonly [id: string, limit: number]> {
  for (const { name, perMinute, perDay } of limits) {
    if (perMinute !== undefined) yield [idOf(name, MINUTE_MS), perMinute];
    if (perDay !== undefined) yield [idOf(name, DAY_MS), perDay];
  }
}

function idOf(name: string, windowMs: number): string {
  return `${name} ${windowMs}`;
}
