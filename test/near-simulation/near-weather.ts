import type { Cluster } from "../simulation/cluster.ts";
import type { SeededRandom } from "../simulation/random.ts";
import type { VirtualTime } from "../simulation/virtual-time.ts";
import { Weather } from "../simulation/weather.ts";
import type { Fleet } from "./fleet.ts";
import type { NearClient } from "./near-client.ts";

export interface NearWeatherDeps {
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly cluster: Cluster;
  readonly fleet: Fleet;
  readonly clients: readonly NearClient[];
}

/** A proxy holds bytes back for this time at most. */
const HELD_MS = 10_000;

/**
 * The faults of a run: those of the service, and those of the clients and their networks. A machine that is set back
 * together with its memory is left out: its positions go back within one epoch, and a client can't see that.
 */
export class NearWeather {
  readonly #deps: NearWeatherDeps;
  readonly #service: Weather;
  #isClear = false;
  #endMs = 0;

  constructor(deps: NearWeatherDeps) {
    this.#deps = deps;
    this.#service = new Weather(deps.time, deps.random, deps.cluster, deps.fleet.inner);
  }

  /** Draws the faults of a run. */
  forecast(endMs: number): void {
    const { random, time } = this.#deps;
    this.#endMs = endMs;
    const own = this.#faults();
    const service = this.#service.faults();
    for (let left = random.pick([0, 1, 3, 6, 10]); left > 0; left--) {
      const fault = random.pick(random.chance(0.5) ? own : service);
      time.after(random.between(0, endMs), () => this.#isClear || fault());
    }
  }

  /** Ends all faults that last, and begins no new ones. */
  clear(): void {
    this.#isClear = true;
    this.#service.clear();
    for (const { machine, network } of this.#deps.clients) {
      machine.wake();
      network.paceMs = 1;
      network.isCut = false;
      network.isCalm = true;
      network.heldUntilMs = Number.NEGATIVE_INFINITY;
    }
  }

  #faults(): readonly (() => void)[] {
    const { random, fleet } = this.#deps;
    const client = () => random.pick(this.#deps.clients);
    return [
      () => this.#cut(client()),
      () => client().network.cutStreams(random.pick([1, 1000, 8000])),
      () => this.#hold(client()),
      () => this.#hold(client()),
      () => this.#slowDown(client()),
      () => client().machine.stall(random.pick([300, 2000, 7000, 30_000]) * random.next()),
      () => client().machine.suspend(random.pick([900, 4000, 15_000, 100_000]) * random.next()),
      () => this.#setClock(client()),
      () => client().forgetCursor(),
      () => fleet.replace(random.whole(0, fleet.services.length - 1)),
      () => fleet.roll(),
      () => this.#lag(random.between(800, 4500)),
      () => this.#startBehind(client()),
      () => this.#startBehind(client()),
      () => this.#startBehind(client()),
      () => this.#startBehind(client()),
    ];
  }

  #cut({ network }: NearClient): void {
    network.isCut = true;
    this.#for(this.#lastingMs(), () => {
      network.isCut = false;
    });
  }

  #hold({ network }: NearClient): void {
    const heldMs = HELD_MS * this.#deps.random.pick([0.2, 0.7, 1]);
    network.heldUntilMs = Math.min(this.#deps.time.nowMs + heldMs, this.#endMs);
  }

  #slowDown({ network }: NearClient): void {
    network.paceMs = this.#deps.random.pick([20, 100, 500]);
    this.#for(this.#lastingMs(), () => {
      network.paceMs = 1;
    });
  }

  /** One process is behind the others: its polls take long, while it reads at once. */
  #lag(ms: number): void {
    const { link } = this.#deps.random.pick(this.#deps.fleet.inner);
    link.isDeaf = true;
    link.lanes.feed = "is silent";
    this.#for(ms, () => {
      link.isDeaf = false;
      link.lanes.feed = "answers";
    });
  }

  /**
   * A client starts again without a cursor, after changes that it is not told of, while some process is behind. Perhaps
   * it loses that stream at once.
   */
  #startBehind(client: NearClient): void {
    const { random } = this.#deps;
    this.#lag(random.between(3000, 4800));
    client.network.cutStreams(10_000);
    this.#for(random.between(200, 2000), () => {
      client.forgetCursor();
      if (random.chance(0.5)) this.#for(random.between(10, 300), () => client.network.cutStreams(1));
    });
  }

  /** A client reads its clock all the time, so no jump hides a suspension: that is a limit that is known. */
  #setClock({ machine }: NearClient): void {
    machine.jump(this.#deps.random.pick([3.6e6, -3.6e6, 900, -900, 5000]) * this.#deps.random.next());
    machine.clock.elapsedMs();
  }

  #lastingMs(): number {
    return this.#deps.random.pick([200, 2000, 8000, 20_000]) * this.#deps.random.next();
  }

  #for(ms: number, end: () => void): void {
    this.#deps.time.after(ms, end);
  }
}
