/**
 * A model of a LimitStore, by brute force: it keeps every count and sums all of them at each call. It shares no code
 * with the stores.
 */
import type { LimitDecision, LimitRequest, WindowStatus } from "../../src/limits/limit.ts";

interface Count {
  bucket: number;
  readonly cost: number;
}

interface ModelWindow {
  readonly name: string;
  readonly lengthMs: number;
  readonly figure: number | undefined;
  readonly counts: Count[];
  /** The cost that earlier requests of the same run would count. */
  readonly pending: number;
}

export class LimitModel {
  readonly #counts = new Map<string, Count[]>();

  decide(request: LimitRequest, nowMs: number): LimitDecision {
    const windows = this.#windowsOf(request);
    for (const window of windows) slide(window, nowMs);
    const { cost, admitted } = request;
    const allowed = cost === 0 || admitted === true || fits(windows, cost, nowMs);
    if (allowed && cost > 0) {
      for (const { counts, lengthMs } of windows) counts.push({ bucket: bucketOf(nowMs, lengthMs), cost });
    }
    const retryAfterMs = allowed ? undefined : retryAfter(windows, cost, nowMs);
    const statuses = windows.filter(({ figure }) => figure !== undefined).map((window) => statusOf(window, nowMs));
    return { allowed, retryAfterMs, windows: statuses, degraded: false };
  }

  /** Decides requests that are counted together or not at all; each waits also for room for those before it. */
  decideTogether(requests: readonly LimitRequest[], nowMs: number): LimitDecision[] {
    const pending = new Map<Count[], number>();
    const waits = requests.map((request) => {
      const windows = this.#windowsOf(request).map((one) => ({ ...one, pending: pending.get(one.counts) ?? 0 }));
      for (const window of windows) slide(window, nowMs);
      const { cost, admitted } = request;
      if (cost > 0 && admitted !== true && !fits(windows, cost, nowMs)) return retryAfter(windows, cost, nowMs);
      for (const window of windows) pending.set(window.counts, window.pending + cost);
      return 0;
    });
    const areCounted = waits.every((waitMs) => waitMs === 0);
    return requests.map((request, at) => {
      const counted = areCounted ? { admitted: true } : { cost: 0 };
      const { windows } = this.decide({ ...request, ...counted }, nowMs);
      const allowed = waits[at] === 0;
      return { allowed, retryAfterMs: allowed ? undefined : waits[at], windows, degraded: false };
    });
  }

  #windowsOf({ subject, limits }: LimitRequest): ModelWindow[] {
    return limits.flatMap(({ name, perMinute, perDay }) => [
      { name, lengthMs: 60_000, figure: perMinute, counts: this.#countsOf(`${name} minute ${subject}`), pending: 0 },
      { name, lengthMs: 86_400_000, figure: perDay, counts: this.#countsOf(`${name} day ${subject}`), pending: 0 },
    ]);
  }

  #countsOf(key: string): Count[] {
    if (!this.#counts.has(key)) this.#counts.set(key, []);
    return this.#counts.get(key)!;
  }
}

function bucketOf(atMs: number, lengthMs: number): number {
  return Math.floor(atMs / (lengthMs / 60));
}

function slide({ counts, lengthMs }: ModelWindow, nowMs: number): void {
  const current = bucketOf(nowMs, lengthMs);
  const left = counts.filter(({ bucket }) => bucket >= current - 60);
  for (const count of left) count.bucket = Math.min(count.bucket, current);
  counts.splice(0, counts.length, ...left);
}

function totalAt({ counts, lengthMs }: ModelWindow, atMs: number): number {
  const current = bucketOf(atMs, lengthMs);
  return counts.filter(({ bucket }) => bucket >= current - 60).reduce((sum, { cost }) => sum + cost, 0);
}

function fits(windows: readonly ModelWindow[], cost: number, atMs: number): boolean {
  return windows.every(
    (window) => window.figure === undefined || totalAt(window, atMs) + window.pending + cost <= window.figure,
  );
}

function retryAfter(windows: readonly ModelWindow[], cost: number, nowMs: number): number | undefined {
  const ends = windows.flatMap(({ counts, lengthMs }) => counts.map(({ bucket }) => ((bucket + 61) * lengthMs) / 60));
  const first = ends.sort((a, b) => a - b).find((atMs) => atMs > nowMs && fits(windows, cost, atMs));
  return first === undefined ? undefined : first - nowMs;
}

function statusOf(window: ModelWindow, nowMs: number): WindowStatus {
  const { name, lengthMs, counts } = window;
  const limit = window.figure!;
  const last = counts.reduce((latest, { bucket }) => Math.max(latest, bucket), Number.NEGATIVE_INFINITY);
  const resetAfterMs = counts.length === 0 ? 0 : ((last + 61) * lengthMs) / 60 - nowMs;
  return { name, lengthMs, limit, remaining: Math.max(0, limit - totalAt(window, nowMs)), resetAfterMs };
}
