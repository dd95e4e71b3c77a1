import type { SimulatedService } from "../simulation/simulated-service.ts";
import { SETTINGS, type Settings } from "./near-keys.ts";
import { NearService, type NearServiceDeps } from "./near-service.ts";

export type FleetDeps = Omit<NearServiceDeps, "settings" | "onServe">;

/** An answer that a proxy holds back is this late at most. It may tell of the time before the clock was set. */
const LEARNED_MS = 12_000;
/** A process whose idea is further from the truth does not know of a clock that was set, or should tell no time. */
const MOST_ERROR_MS = 1500;
const FOR_EVER_MS = 1e9;

/** The processes of the service, each of which may be replaced. */
export class Fleet {
  readonly services: NearService[] = [];
  /** The same processes, as the weather knows them. */
  readonly inner: SimulatedService[] = [];
  readonly #deps: FleetDeps;
  /** The settings that some process had, and the true time at which the last of them stopped. */
  readonly #untilMs = new Map<Settings, number>();
  #wasSuspended = false;
  /** True time at which a process last told a time from before the database's clock was set. */
  #unlearnedAtMs = Number.NEGATIVE_INFINITY;
  #lowMs = 0;
  #highMs = 0;
  #settings = SETTINGS[0]!;

  constructor(deps: FleetDeps, size: number) {
    this.#deps = deps;
    for (let at = 0; at < size; at++) this.#start(at);
  }

  /** Whether some process's machine was ever suspended. */
  get wasSuspended(): boolean {
    return this.#wasSuspended || this.inner.some(({ machine }) => machine.wasSuspended);
  }

  /** The settings that some process had at or after a true time. */
  settingsSince(fromMs: number): readonly Settings[] {
    return [...this.#untilMs].filter(([, untilMs]) => untilMs >= fromMs).map(([settings]) => settings);
  }

  /** Another process takes the place of one. */
  replace(at: number): void {
    this.#wasSuspended = this.wasSuspended;
    this.services[at]!.stop();
    const { settings } = this.services[at]!;
    this.#start(at);
    if (this.services.every((service) => service.settings !== settings)) {
      this.#untilMs.set(settings, this.#deps.time.nowMs);
    }
  }

  /** Replaces all processes, one after the other, by processes of other settings. */
  roll(): void {
    const { time, random } = this.#deps;
    this.#settings = SETTINGS[(SETTINGS.indexOf(this.#settings) + 1) % SETTINGS.length]!;
    for (const at of this.services.keys()) time.after(at * random.between(100, 3000), () => this.replace(at));
  }

  /** Notes how far a process's idea of the database's time is from the truth, whenever it tells its own. */
  #noteClock(service: NearService): void {
    const errorMs = service.clockErrorMs;
    if (Math.abs(errorMs) < MOST_ERROR_MS) {
      this.#lowMs = Math.min(this.#lowMs, errorMs);
      this.#highMs = Math.max(this.#highMs, errorMs);
    } else if (this.#deps.cluster.clockSetAtMs > Number.NEGATIVE_INFINITY) {
      this.#unlearnedAtMs = this.#deps.time.nowMs;
    }
  }

  /** The greatest errors so far, from the lowest to the highest; without bounds while a set clock is being learned. */
  clockErrors(): readonly [lowMs: number, highMs: number] {
    const { cluster, time } = this.#deps;
    const isLearning = time.nowMs - Math.max(cluster.clockSetAtMs, this.#unlearnedAtMs) < LEARNED_MS;
    return isLearning ? [-FOR_EVER_MS, FOR_EVER_MS] : [this.#lowMs, this.#highMs];
  }

  #start(at: number): void {
    const settings = this.#settings;
    const service = new NearService({ ...this.#deps, settings, onServe: (one) => this.#noteClock(one) });
    this.services[at] = service;
    this.inner[at] = service.inner;
    this.#untilMs.set(settings, Number.POSITIVE_INFINITY);
  }
}
