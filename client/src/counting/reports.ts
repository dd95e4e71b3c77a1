import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  BatchCheckRateLimitsResponse,
  CheckRateLimitRequestSchema,
} from "../../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AgeClock, Timers } from "../../../src/lib/clock.ts";
import { type NamedLimit, rateLimitVerdictOf } from "../verdict.ts";
import type { Asked, WindowCounters } from "./window-counters.ts";

export type ReportInit = MessageInitShape<typeof CheckRateLimitRequestSchema>;

export interface ReportsDeps {
  /** Sends BatchCheckRateLimits. */
  readonly send: (requests: readonly ReportInit[]) => Promise<Pick<BatchCheckRateLimitsResponse, "results">>;
  readonly counters: WindowCounters;
  readonly clock: AgeClock;
  readonly timers: Timers;
}

/** Admitted calls of one key under the same limits. */
interface Report {
  readonly keyId: string;
  readonly limits: readonly NamedLimit[];
  cost: number;
}

interface Sent {
  readonly report: Report;
  readonly asked: Asked;
}

/** A cost is on its way at most 20 ms after it was admitted, with a timer that is a little late. */
const GATHER_MS = 10;
/** The service's own maximum. */
const MAX_REPORTS = 256;

/**
 * Reports calls that were admitted without asking, by BatchCheckRateLimits. Of one key, one report at a time is under
 * way, and what comes meanwhile gathers. A report that gets no answer is not repeated, because the service may have
 * counted it.
 */
export class Reports {
  readonly #deps: ReportsDeps;
  /** Key -> the text of its limits -> what is to be reported. */
  readonly #waiting = new Map<string, Map<string, Report>>();
  /** Key -> the end of its report. */
  readonly #underWay = new Map<string, Promise<void>>();
  #isScheduled = false;

  constructor(deps: ReportsDeps) {
    this.#deps = deps;
  }

  add(keyId: string, limits: readonly NamedLimit[], cost: number): void {
    this.#deps.counters.willTell(keyId, cost);
    const ofKey = this.#waiting.get(keyId) ?? new Map<string, Report>();
    const text = JSON.stringify(limits);
    const report = ofKey.get(text) ?? { keyId, limits, cost: 0 };
    report.cost += cost;
    this.#waiting.set(keyId, ofKey.set(text, report));
    this.#schedule();
  }

  /** Resolves once all that was added of this key before has an answer, or is lost; undefined: that is so now. */
  settled(keyId: string): Promise<void> | undefined {
    return this.#waiting.has(keyId) || this.#underWay.has(keyId) ? this.#settled(keyId) : undefined;
  }

  async #settled(keyId: string): Promise<void> {
    // Of one key, one report is under way, and one waits.
    for (let round = 0; round < 2; round++) {
      this.#flush();
      await this.#underWay.get(keyId);
    }
  }

  /** Sends what waits now. Resolves once nothing is under way. */
  async drain(): Promise<void> {
    this.#flush();
    while (this.#underWay.size > 0) {
      await Promise.all(this.#underWay.values());
      this.#flush();
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#deps.timers.after(GATHER_MS, () => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const reports: Report[] = [];
    for (const [keyId, ofKey] of this.#waiting) {
      if (this.#underWay.has(keyId)) continue;
      this.#waiting.delete(keyId);
      reports.push(...ofKey.values());
      if (reports.length < MAX_REPORTS) continue;
      this.#begin(reports.splice(0));
    }
    if (reports.length > 0) this.#begin(reports);
  }

  #begin(reports: readonly Report[]): void {
    const batch = this.#sendAll(reports).then(() => {
      for (const { keyId } of reports) this.#underWay.delete(keyId);
      if (this.#waiting.size > 0) this.#schedule();
    });
    for (const { keyId } of reports) this.#underWay.set(keyId, batch);
  }

  /** More than one call only if a key has very many sets of limits. */
  async #sendAll(reports: readonly Report[]): Promise<void> {
    const calls: Promise<void>[] = [];
    for (let from = 0; from < reports.length; from += MAX_REPORTS) {
      calls.push(this.#send(reports.slice(from, from + MAX_REPORTS)));
    }
    await Promise.all(calls);
  }

  async #send(reports: readonly Report[]): Promise<void> {
    const { counters, clock, send } = this.#deps;
    const nowMs = clock.elapsedMs();
    const sent = reports.map((report) => ({ report, asked: counters.telling(report.keyId, report.cost, nowMs) }));
    const results = await send(reports.map(initOf)).then(
      (answer) => answer.results,
      () => [],
    );
    for (const [at, one] of sent.entries()) this.#settle(one, results[at]?.outcome);
  }

  #settle(
    { report, asked }: Sent,
    outcome: BatchCheckRateLimitsResponse["results"][number]["outcome"] | undefined,
  ): void {
    const { counters, clock } = this.#deps;
    const { keyId, cost } = report;
    const verdict = outcome?.case === "response" ? rateLimitVerdictOf(outcome.value) : undefined;
    if (verdict === undefined) {
      counters.lose(keyId, cost, clock.elapsedMs(), true);
      return;
    }
    // A degraded answer comes from the counters of one process, which say nothing about the shared ones.
    counters.told(keyId, asked, verdict.degraded ? [] : verdict.rateLimits, cost);
    if (verdict.degraded) counters.forget(keyId);
  }
}

function initOf({ keyId, limits, cost }: Report): ReportInit {
  const named = limits.map(({ name, perMinute, perDay }) => ({
    name,
    ...(perMinute !== undefined && { perMinute }),
    ...(perDay !== undefined && { perDay }),
  }));
  return { subject: { case: "keyId", value: keyId }, cost, limits: named, admitted: true };
}
