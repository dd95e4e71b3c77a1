import { Cluster, type Committed } from "../simulation/cluster.ts";
import { SeededRandom } from "../simulation/random.ts";
import { VirtualTime } from "../simulation/virtual-time.ts";
import type { NearRequest } from "./expected-verdict.ts";
import { Fleet } from "./fleet.ts";
import { NearClient } from "./near-client.ts";
import { NEAR_KEYS, type NearKey, SCOPES, TIER_NAMES } from "./near-keys.ts";
import { NearRules } from "./near-rules.ts";
import { NearWeather } from "./near-weather.ts";
import { Writers } from "./writers.ts";

/** After the last fault, each cache must be fed by a stream within this time. */
const SETTLING_MS = 6000;
/** Longer than a record lives by its own age. */
const QUIET_MS = 5300;
/** Share of the runs that end with calm weather, in which the caches must be of use. */
const ENDS_CALM = 0.3;
const SESSIONS = ["ses_0", "ses_1", "ses_2", "ses_3"];

/**
 * THE NEAR SIMULATION. It runs the shipped near cache of the client against the shipped modules of the service, in
 * virtual time. Keys, owners and sessions change, while database, processes, networks, machines and clocks fail. It
 * stands on the parts of test/simulation/. Each seed is one run.
 *
 *   simulate.ts           all of them in one run
 *   near-keys.ts          the keys and settings that all runs use
 *   writers.ts            what changes
 *   near-service.ts       a process of the service, from the wire to the database
 *   fleet.ts              the processes, which are replaced
 *   network.ts            calls and streams between a client and the processes
 *   near-client.ts        a client: its machine, its cache, the life of its streams
 *   near-weather.ts       the faults of a run
 *   expected-verdict.ts   the verdict that the contract wants at a moment
 *   near-rules.ts         which verdicts are allowed
 *   run.ts                many seeds on all cores: `npm run test:near-simulation`
 *   mutants.ts            faults that the simulation must find
 *
 * @returns the first fault, without the seed; undefined if there was none
 */
export async function simulateNear(seed: number): Promise<string | undefined> {
  return new NearSimulation(seed).run();
}

class NearSimulation {
  #fault: string | undefined;
  readonly #time = new VirtualTime();
  readonly #random: SeededRandom;
  readonly #cluster: Cluster;
  readonly #fleet: Fleet;
  readonly #clients: readonly NearClient[];
  readonly #samples: readonly NearKey[];
  readonly #writers: Writers;
  readonly #endMs: number;
  #isCalm = false;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    const time = this.#time;
    this.#random = random;
    this.#endMs = random.chance(0.004) ? random.between(60_000, 900_000) : random.between(4000, 13_000);
    this.#cluster = new Cluster(time, random);
    const cluster = this.#cluster;
    const staleOkMs = random.pick([0, 0, 3000, 60_000]);
    this.#fleet = new Fleet({ time, random, cluster, staleOkMs }, random.whole(1, 3));
    const fleet = this.#fleet;
    const rules = new NearRules({ time, cluster, fleet, staleOkMs, onFault: this.onFault });
    this.#clients = Array.from({ length: random.whole(1, 2) }, (_, number) => {
      const maxStalenessMs = random.pick([1500, 5000, 5000, 60_000]);
      const clientStaleOkMs = random.pick([0, 0, 0, 20_000]);
      const { services } = fleet;
      return new NearClient({ number, time, random, services, rules, maxStalenessMs, staleOkMs: clientStaleOkMs });
    });
    this.#samples = NEAR_KEYS.slice(0, random.whole(2, 4));
    const { onChange } = this;
    this.#writers = new Writers({ time, random, cluster, samples: this.#samples, sessions: SESSIONS, onChange });
  }

  async run(): Promise<string | undefined> {
    const isOver = () => this.#fault !== undefined;
    // A long run is a slow one: it is about lives of minutes.
    const slowness = this.#endMs > 20_000 ? 20 : 1;
    this.#writers.begin();
    for (const client of this.#clients) {
      this.#time.after(this.#random.between(0, this.#random.pick([300, 3000])), () => client.start());
      this.#everyNowAndThen(this.#random.pick([100, 300, 1000]) * slowness, () => this.#present(client));
    }
    this.#everyNowAndThen(this.#random.pick([200, 600, 2000]) * slowness, () => this.#writers.change());
    const weather = new NearWeather({
      time: this.#time,
      random: this.#random,
      cluster: this.#cluster,
      fleet: this.#fleet,
      clients: this.#clients,
    });
    weather.forecast(this.#endMs);
    await this.#time.runUntil(this.#endMs, isOver);
    // Calm weather takes as long as the run. It is enough that some runs end with it.
    if (this.#fault !== undefined || !this.#random.chance(ENDS_CALM)) return this.#fault;
    this.#isCalm = true;
    weather.clear();
    await this.#time.runUntil(this.#endMs + SETTLING_MS, isOver);
    return this.#fault ?? (await this.#checkLiveness(isOver));
  }

  readonly onFault = (fault: string): void => {
    this.#fault ??= `${fault}, at ${this.#time.nowMs.toFixed(1)} ms`;
  };

  /** Callers present the key of a change soon after it, and about when records of its old state grow too old. */
  readonly onChange = (sample: NearKey, committed: Committed | undefined): void => {
    const random = this.#random;
    if (committed !== undefined && !random.chance(0.1)) {
      const service = random.pick(this.#fleet.services);
      this.#time.after(random.pause(2), () => service.receive(() => service.inner.acknowledge(committed)));
    }
    const times = [random.pause(3), random.pause(20), random.pause(300)];
    if (random.chance(0.3)) times.push(random.between(4900, 5300));
    for (const ms of times) {
      const client = random.pick(this.#clients);
      this.#time.after(ms, () => client.present(this.#request(sample)));
    }
  };

  #everyNowAndThen(meanMs: number, run: () => void): void {
    this.#time.after(this.#random.pause(meanMs), () => {
      if (this.#isCalm) return;
      run();
      this.#everyNowAndThen(meanMs, run);
    });
  }

  #present(client: NearClient): void {
    client.present(this.#request(this.#random.pick(this.#samples)));
    client.presentToken(this.#random.pick(SESSIONS), this.#cluster.clockAt(0));
  }

  #request(sample: NearKey): NearRequest {
    const random = this.#random;
    const secret = random.chance(0.6) ? 0 : random.whole(1, 2);
    const request = {
      apiKey: sample.secrets[secret]!.rawKey,
      requiredScopes: random.chance(0.4) ? [random.pick(SCOPES)] : [],
      allowedTiers: random.chance(0.3) ? [random.pick(TIER_NAMES)] : [],
      environment: random.chance(0.1) ? random.pick(["live", "test"]) : "",
      cost: random.pick([0, 1]),
    };
    return { sample, secret, request };
  }

  /** Records that were fetched in calm weather are used without a call after a time that only the stream can bridge. */
  async #checkLiveness(isOver: () => boolean): Promise<string | undefined> {
    const requests = this.#samples.map((sample) => ({
      sample,
      secret: 0,
      request: { apiKey: sample.secrets[0]!.rawKey },
    }));
    for (const client of this.#clients) for (const asked of requests) client.refresh(asked);
    await this.#time.runUntil(this.#time.nowMs + QUIET_MS, isOver);
    for (const client of this.#clients) {
      const fault = this.#fault ?? this.#livenessFault(client, requests);
      if (fault !== undefined) return `client ${client.number}: ${fault}, at ${this.#time.nowMs.toFixed(1)} ms`;
    }
    return this.#fault;
  }

  #livenessFault(client: NearClient, requests: readonly NearRequest[]): string | undefined {
    const ageMs = client.cache.streamAgeMs;
    if (!(ageMs < 3000)) return `the stream's knowledge is ${ageMs.toFixed(1)} ms old`;
    for (const sessionId of SESSIONS) {
      if (client.cache.sessionEnded(sessionId, this.#cluster.clockAt(0)) === undefined)
        return `${sessionId} is not known`;
    }
    if (client.maxStalenessMs < 5000 || client.maxKeys < 10) return undefined;
    const isKept = ({ request }: NearRequest) => client.cache.judge(request) !== undefined;
    const missing = requests.filter((asked) => this.#shouldBeKept(client, asked) && !isKept(asked));
    if (missing.length === 0) return undefined;
    return `${missing.length} of ${requests.length} records are not kept in calm weather`;
  }

  /** A key that was answered for in calm weather, did not change for a while before, and never ends. */
  #shouldBeKept(client: NearClient, { sample, request }: NearRequest): boolean {
    // Even there, the database may answer too late.
    if ((client.answeredMs.get(request.apiKey) ?? 0) < this.#endMs + SETTLING_MS) return false;
    const { truth } = this.#cluster;
    const row = truth.now(sample.keyId);
    if (row === undefined) return false;
    const changedAtMs = Math.max(truth.changedAtMs(sample.keyId), truth.changedAtMs(sample.ownerId));
    const secret = row.secrets?.find(({ digest }) => digest === sample.secret.digest);
    const hasEnd = row.key?.expiresAtMs !== undefined || secret?.expiresAtMs !== undefined;
    return secret !== undefined && !hasEnd && changedAtMs < this.#endMs + SETTLING_MS - 3000;
  }
}
