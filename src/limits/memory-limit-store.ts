import { type Clock, DAY_MS, MINUTE_MS } from "../lib/clock.ts";
import type { LimitDecision, LimitFigures, LimitRequest, NamedLimit, WindowStatus } from "./limit.ts";
import type { LimitStore } from "./limit-store.ts";
import { Window } from "./window.ts";

export interface MemoryLimitStoreOptions {
  readonly clock: Clock;
  /**
   * Maximum limits kept; beyond it the least recently counted one is forgotten. A limit needs up to 6 KB; most need far
   * less.
   */
  readonly maxLimits?: number;
  /** Called when a limit that holds counts was forgotten because there was no room. */
  readonly onForgotten?: () => void;
}

/** Both windows of one limit of one subject. */
interface Windows {
  readonly minute: Window;
  readonly day: Window;
}

/** A limit's windows within one run. */
interface Held {
  readonly windows: Windows;
  /** The cost that earlier requests of the run would count there. */
  pending: number;
}

/** A request of a run, and whether it has room. */
interface Judged {
  readonly request: LimitRequest;
  readonly held: readonly Held[];
  readonly waitMs: Wait;
}

const MAX_LIMITS = 100_000;
/**
 * Maximum limits that are removed for each new one. It is more than one, so that limits without counts become fewer.
 */
const FORGOTTEN_PER_NEW = 2;

/** Windows in the memory of this process: for a single process without Redis, and while Redis is unreachable. */
export class MemoryLimitStore implements LimitStore {
  /** Least recently counted first. */
  readonly #kept = new Map<string, Windows>();
  readonly #clock: Clock;
  readonly #maxLimits: number;
  readonly #onForgotten: () => void;

  constructor(options: MemoryLimitStoreOptions) {
    this.#clock = options.clock;
    this.#maxLimits = options.maxLimits ?? MAX_LIMITS;
    this.#onForgotten = options.onForgotten ?? (() => {});
  }

  /** Number of limits kept now. */
  get size(): number {
    return this.#kept.size;
  }

  partOf(): string {
    return "";
  }

  groupOf(): string {
    return "";
  }

  async decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const nowMs = this.#nowMs();
    return runsOf(requests).flatMap((run) => this.#decideRun(nowMs, run));
  }

  /** As `decide` with one request, without a promise. */
  decideOne(request: LimitRequest): LimitDecision {
    return this.#decideRun(this.#nowMs(), [request])[0]!;
  }

  /** Decides requests as one run, without a promise. */
  decideTogether(requests: readonly LimitRequest[]): readonly LimitDecision[] {
    return this.#decideRun(this.#nowMs(), requests);
  }

  /** The cost counted in the minute window of a limit. */
  minuteTotal(subject: string, name: string): number {
    return this.#windowsOf(subject, name, this.#nowMs()).minute.total;
  }

  async reset(subject: string, names: readonly string[]): Promise<void> {
    for (const name of ["", ...names]) this.#kept.delete(keyOf(subject, name));
  }

  renew(): void {}

  /** The monotonic clock, not the time of day: setting the host's clock forward would empty every window. */
  #nowMs(): number {
    return Math.floor(this.#clock.monotonicMs());
  }

  #decideRun(nowMs: number, run: readonly LimitRequest[]): readonly LimitDecision[] {
    const shared = new Map<string, Held>();
    const judged = run.map((request) => this.#judge(nowMs, request, shared));
    const allowed = judged.every(({ waitMs }) => waitMs === 0);
    return judged.map((one) => this.#settle(nowMs, one, allowed));
  }

  #judge(nowMs: number, request: LimitRequest, shared: Map<string, Held>): Judged {
    const { subject, cost, limits, admitted } = request;
    const held = limits.map(({ name }) => this.#hold(subject, name, nowMs, shared));
    const needed = admitted ? 0 : cost;
    const waitMs = limits.map((limit, at) => msUntilRoom(held[at]!, limit, needed)).reduce(longer, 0);
    if (waitMs === 0) for (const one of held) one.pending += cost;
    return { request, held, waitMs };
  }

  #hold(subject: string, name: string, nowMs: number, shared: Map<string, Held>): Held {
    const key = keyOf(subject, name);
    const known = shared.get(key);
    if (known !== undefined) return known;
    const held = { windows: this.#windowsOf(subject, name, nowMs), pending: 0 };
    shared.set(key, held);
    return held;
  }

  #settle(nowMs: number, { request, held, waitMs }: Judged, allowed: boolean): LimitDecision {
    const { subject, cost, limits } = request;
    if (allowed && cost > 0) {
      for (const [at, { name }] of limits.entries()) this.#count(subject, name, held[at]!.windows, cost, nowMs);
    }
    const windows = limits.flatMap((limit, at) => statusesOf(limit, held[at]!.windows));
    const hasRoom = waitMs === 0;
    return { allowed: hasRoom, retryAfterMs: hasRoom ? undefined : waitMs, windows, degraded: false };
  }

  #windowsOf(subject: string, name: string, nowMs: number): Windows {
    const kept = this.#kept.get(keyOf(subject, name));
    const windows = kept ?? { minute: new Window(MINUTE_MS), day: new Window(DAY_MS) };
    windows.minute.slide(nowMs);
    windows.day.slide(nowMs);
    return windows;
  }

  #count(subject: string, name: string, windows: Windows, cost: number, nowMs: number): void {
    windows.minute.count(cost);
    windows.day.count(cost);
    const key = keyOf(subject, name);
    if (!this.#kept.delete(key)) this.#makeRoom(nowMs);
    this.#kept.set(key, windows);
  }

  #makeRoom(nowMs: number): void {
    let left = FORGOTTEN_PER_NEW;
    for (const [key, windows] of this.#kept) {
      windows.day.slide(nowMs);
      const isInUse = windows.day.total > 0;
      if (this.#kept.size < this.#maxLimits && isInUse) return;
      if (isInUse) this.#onForgotten();
      this.#kept.delete(key);
      if (--left === 0) return;
    }
  }
}

/** In milliseconds; undefined = forever. */
type Wait = number | undefined;

/** A name contains no NUL, so two different pairs of subject and name never share a key. */
function keyOf(subject: string, name: string): string {
  return `${name}\0${subject}`;
}

/** The requests of a group by runs. */
function runsOf(requests: readonly LimitRequest[]): readonly (readonly LimitRequest[])[] {
  const runs: LimitRequest[][] = [];
  for (const [at, request] of requests.entries()) {
    if (requests[at - 1]?.goesOn) runs.at(-1)!.push(request);
    else runs.push([request]);
  }
  return runs;
}

function msUntilRoom({ windows, pending }: Held, { perMinute, perDay }: LimitFigures, needed: number): Wait {
  if (needed === 0) return 0;
  const cost = needed + pending;
  const minute = perMinute === undefined ? 0 : windows.minute.msUntilRoom(cost, perMinute);
  const day = perDay === undefined ? 0 : windows.day.msUntilRoom(cost, perDay);
  return longer(minute, day);
}

function longer(a: Wait, b: Wait): Wait {
  return a === undefined || b === undefined ? undefined : Math.max(a, b);
}

function statusesOf(limit: NamedLimit, windows: Windows): WindowStatus[] {
  const statuses: WindowStatus[] = [];
  if (limit.perMinute !== undefined) statuses.push(statusOf(limit.name, limit.perMinute, windows.minute));
  if (limit.perDay !== undefined) statuses.push(statusOf(limit.name, limit.perDay, windows.day));
  return statuses;
}

function statusOf(name: string, limit: number, window: Window): WindowStatus {
  const remaining = Math.max(0, limit - window.total);
  return { name, lengthMs: window.lengthMs, limit, remaining, resetAfterMs: window.msUntilEmpty() };
}
