import type { LimitDecision } from "../../src/limits/limit.ts";
import { SharedLimiter } from "../../src/limits/limiter.ts";
import { AdmissionRules } from "./admission-rules.ts";
import { LimitLink, SharedStore } from "./limit-link.ts";
import { Machine } from "./machine.ts";
import { SeededRandom } from "./random.ts";
import { VirtualTime } from "./virtual-time.ts";

/**
 * A limiter notices within this time that the store is reachable again: a probe, and the timeout of one that still
 * fails.
 */
const NOTICED_MS = 700;
/** Maximum wait of a caller for an unreachable store. */
const DECIDED_MS = 60;
/** Time of a round trip if nothing is slow, including the rounding of the store's clock to whole milliseconds. */
const CALM_ROUND_TRIP_MS = 5;
/** Tolerance for the rounding of sums of fractions of milliseconds. */
const ROUNDING_MS = 0.001;
/** A subject that one client uses through one process, without faults. */
const SOLE = "sole";

/**
 * Several processes limit many clients with one store, while store, network and processes fail.
 *
 * @returns the first fault; undefined if there was none
 */
export async function simulateLimits(seed: number): Promise<string | undefined> {
  return new LimitsSimulation(seed).run();
}

interface Process {
  readonly machine: Machine;
  readonly link: LimitLink;
  readonly limiter: SharedLimiter;
}

class LimitsSimulation {
  #fault: string | undefined;
  readonly #time = new VirtualTime();
  readonly #random: SeededRandom;
  readonly #limits: ReadonlyMap<string, number>;
  readonly #store: SharedStore;
  readonly #rules: AdmissionRules;
  readonly #processes: readonly Process[];
  readonly #endMs: number;
  readonly #isCalm: boolean;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#isCalm = random.chance(0.3);
    this.#endMs = random.between(65_000, 140_000);
    const subjects = [SOLE, "a", "b"].slice(0, random.whole(1, 3));
    this.#limits = new Map(subjects.map((subject) => [subject, random.whole(2, 12)]));
    this.#store = new SharedStore(this.#time, ({ request, allowed }) => {
      // A probe counts in a window that no caller uses.
      if (allowed && request.limits[0]!.name === "") this.#admit(request.subject, request.cost, "store");
    });
    const count = random.whole(1, 3);
    this.#processes = Array.from({ length: count }, () => this.#startProcess(count));
    this.#rules = new AdmissionRules(this.#limits, count, this.#store.lostAtMs);
  }

  async run(): Promise<string | undefined> {
    const isOver = () => this.#fault !== undefined;
    for (const subject of this.#limits.keys()) {
      if (subject === SOLE && this.#isCalm) this.#useAlone(this.#processes[0]!);
      else for (const process of this.#processes) this.#useForEver(process, subject, this.#random.pick([1000, 4000]));
    }
    if (!this.#isCalm) for (let n = this.#random.whole(1, 6); n > 0; n--) this.#forecast();
    await this.#time.runUntil(this.#endMs, isOver);
    for (const { limiter } of this.#processes) limiter.close();
    return this.#fault;
  }

  #blame(fault: string): void {
    this.#fault ??= `${fault}, at ${this.#time.nowMs.toFixed(1)} ms`;
  }

  #startProcess(replicas: number): Process {
    const base = { time: this.#time, random: this.#random };
    const machine = new Machine(this.#time, this.#random);
    const link = new LimitLink({ ...base, store: this.#store, machine });
    const log = { info: () => {}, warn: () => {}, error: () => {}, flush: () => {} };
    const { clock, timers } = machine;
    const limiter = new SharedLimiter({ store: link, clock, timers, log, replicas, workers: 1 });
    return { machine, link, limiter };
  }

  #useForEver(process: Process, subject: string, meanMs: number): void {
    this.#time.after(this.#random.pause(meanMs), () => {
      const cost = this.#random.chance(0.8) ? 1 : 2;
      const burst = this.#random.chance(0.1) ? 4 : 1;
      for (let n = 0; n < burst; n++) process.machine.receive(() => void this.#decide(process, subject, cost));
      this.#useForEver(process, subject, meanMs);
    });
  }

  async #decide(process: Process, subject: string, cost: number): Promise<LimitDecision> {
    const { machine, limiter, link } = process;
    const startedAtRanMs = machine.ranMs;
    const limits = [{ name: "", perMinute: this.#limits.get(subject)!, perDay: undefined }];
    const decision = await limiter.decide({ subject, cost, limits });
    const tookMs = machine.ranMs - startedAtRanMs;
    if (tookMs > DECIDED_MS) this.#blame(`a decision took ${tookMs.toFixed(1)} ms`);
    if (decision.degraded && decision.allowed) this.#admit(subject, cost, this.#processes.indexOf(process));
    if (decision.degraded && link.healthyForMs() > NOTICED_MS) this.#blame("degraded, though the store answers");
    return decision;
  }

  #admit(subject: string, cost: number, by: "store" | number): void {
    const fault = this.#rules.faultOf({ subject, cost, by, atMs: this.#time.nowMs });
    if (fault !== undefined) this.#blame(fault);
  }

  /** Fills a window, and checks each denial: a retry at its time succeeds, and one a little earlier does not. */
  #useAlone(process: Process): void {
    const ask = async (expected: boolean | undefined): Promise<void> => {
      const { allowed, retryAfterMs } = await this.#decide(process, SOLE, 1);
      if (expected !== undefined && allowed !== expected) {
        this.#blame(expected ? "denied at the time of retry_after" : "admitted before the time of retry_after");
      }
      if (allowed || retryAfterMs === undefined) return later(this.#random.pause(1500), undefined);
      if (expected === false || retryAfterMs <= CALM_ROUND_TRIP_MS) return later(retryAfterMs + ROUNDING_MS, true);
      return later((retryAfterMs - CALM_ROUND_TRIP_MS) * this.#random.pick([1, this.#random.next()]), false);
    };
    const later = (ms: number, expected: boolean | undefined) => {
      this.#time.after(ms, () => void ask(expected));
    };
    later(0, undefined);
  }

  #forecast(): void {
    const store = this.#store;
    const process = this.#random.pick(this.#processes);
    const how = this.#random.pick(["refuses", "is silent"] as const);
    const faults = [
      () => this.#during(store, how),
      () => this.#during(process.link, how),
      () => this.#slowDown(process.link),
      () => process.machine.stall(this.#random.pick([60, 500, 8000]) * this.#random.next()),
      () => store.loseAll(),
      () => store.stepBack(this.#random.between(0, 50_000)),
    ];
    this.#time.after(this.#random.between(0, this.#endMs), this.#random.pick(faults));
  }

  #during(what: { reachability: "answers" | "refuses" | "is silent" }, how: "refuses" | "is silent"): void {
    what.reachability = how;
    this.#healAfter(this.#random.pick([100, 3000, 40_000]) * this.#random.next(), () => {
      what.reachability = "answers";
    });
  }

  #slowDown(link: LimitLink): void {
    link.slowestMs = this.#random.pick([30, 100]);
    this.#healAfter(this.#random.between(0, 5000), () => {
      link.slowestMs = 2;
    });
  }

  #healAfter(ms: number, heal: () => void): void {
    this.#time.after(ms, () => {
      for (const { link } of this.#processes) link.healthyForMs();
      heal();
    });
  }
}
