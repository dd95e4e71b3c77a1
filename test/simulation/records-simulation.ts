import { Cluster, type Committed } from "./cluster.ts";
import { DatabaseLink } from "./database-link.ts";
import { Machine } from "./machine.ts";
import { SeededRandom } from "./random.ts";
import { nameOf, SAMPLE_KEYS, type SampleKey } from "./sample-keys.ts";
import { SimulatedService } from "./simulated-service.ts";
import type { Row } from "./truth.ts";
import { VerdictRules } from "./verdict-rules.ts";
import { VirtualTime } from "./virtual-time.ts";
import { WatchingClient } from "./watching-client.ts";
import { Weather } from "./weather.ts";

/** After the last fault, everything must be in order within this time. */
const SETTLING_MS = 6000;

/**
 * Keys and their owners change, processes answer for them, and watchers are told, while database, network and processes
 * fail. A seed gives the same run each time.
 *
 * @returns the first fault; undefined if there was none
 */
export async function simulateRecords(seed: number): Promise<string | undefined> {
  return new RecordsSimulation(seed).run();
}

class RecordsSimulation {
  #fault: string | undefined;
  readonly #time = new VirtualTime();
  readonly #random: SeededRandom;
  readonly #cluster: Cluster;
  readonly #rules: VerdictRules;
  readonly #samples: readonly SampleKey[];
  readonly #processes: readonly SimulatedService[];
  readonly #watchers: readonly WatchingClient[];
  readonly #endMs: number;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    this.#random = random;
    this.#endMs = random.chance(0.04) ? random.between(60_000, 100_000) : random.between(6000, 20_000);
    this.#cluster = new Cluster(this.#time, random);
    this.#rules = new VerdictRules(this.#cluster);
    this.#samples = SAMPLE_KEYS.slice(0, random.whole(2, 4));
    const staleOkMs = random.pick([0, 3000, 60_000]);
    this.#processes = Array.from({ length: random.whole(1, 3) }, () => this.#startProcess(staleOkMs));
    const { onFault } = this;
    const watcherDeps = { time: this.#time, random, cluster: this.#cluster, processes: this.#processes, onFault };
    this.#watchers = Array.from({ length: random.whole(0, 2) }, () => new WatchingClient(watcherDeps));
  }

  async run(): Promise<string | undefined> {
    const isOver = () => {
      const { fault } = this.#cluster.positions;
      if (fault !== undefined) this.onFault(fault);
      return this.#fault !== undefined;
    };
    this.#writeFirstRows();
    for (const process of this.#processes) {
      void process.feed.start();
      this.#callForEver(process, this.#random.pick([150, 400, 1200, 4000]));
    }
    for (const watcher of this.#watchers) this.#time.after(this.#random.pause(300), () => watcher.connect());
    this.#changeForEver(this.#random.pick([300, 1000, 3000]));
    const weather = new Weather(this.#time, this.#random, this.#cluster, this.#processes);
    weather.forecast(this.#endMs);
    await this.#time.runUntil(this.#endMs, isOver);
    weather.clear();
    for (const watcher of this.#watchers) watcher.isInHurry = true;
    await this.#time.runUntil(this.#endMs + SETTLING_MS, isOver);
    return this.#fault ?? this.#unsettled();
  }

  readonly onFault = (fault: string): void => {
    this.#fault ??= `${fault}, at ${this.#time.nowMs.toFixed(1)} ms`;
  };

  #startProcess(staleOkMs: number): SimulatedService {
    const base = { time: this.#time, cluster: this.#cluster, random: this.#random };
    const machine = new Machine(this.#time, this.#random);
    const link = new DatabaseLink({ ...base, machine });
    return new SimulatedService({
      ...base,
      machine,
      link,
      staleOkMs,
      onAnswer: (process, answer) => {
        const fault = this.#rules.faultOf(process, answer);
        if (fault === undefined) return;
        this.onFault(
          `process ${this.#processes.indexOf(process)}, key ${this.#samples.indexOf(answer.sample)}: ${fault}`,
        );
      },
      onError: (error) => this.onFault(`a call ended with ${error instanceof Error ? error.stack : error}`),
    });
  }

  #writeFirstRows(): void {
    const { model, truth } = this.#cluster;
    const subjects = this.#samples.flatMap(({ keyId, ownerId }) => [keyId, ownerId]);
    for (const subjectId of new Set(subjects)) {
      const row = this.#cluster.newRow("active");
      const xactId = model.beginXact();
      const change = { sequence: model.drawSequence(), xactId, kind: "KEY" as const, subjectId, changedAtMs: 0 };
      model.write(row, change);
      model.commit(xactId);
      truth.set(subjectId, row, 0);
    }
  }

  #callForEver(process: SimulatedService, meanMs: number): void {
    this.#time.after(this.#random.pause(meanMs), () => {
      this.#call(process);
      this.#callForEver(process, meanMs);
    });
  }

  #call(process: SimulatedService): void {
    const samples = this.#random.chance(0.15) ? this.#samples : [this.#random.pick(this.#samples)];
    process.machine.receive(() => process.call(samples));
  }

  #changeForEver(meanMs: number): void {
    this.#time.after(this.#random.pause(meanMs), () => {
      this.#change();
      this.#changeForEver(meanMs);
    });
  }

  /** Changes a key or its owner through some process, while many callers present the key. */
  #change(): void {
    const sample = this.#random.pick(this.#samples);
    const process = this.#random.pick(this.#processes);
    const isKey = this.#random.chance(0.65);
    const subjectId = isKey ? sample.keyId : sample.ownerId;
    const onCommit = (committed: Committed) => {
      this.#answerLater(process, committed);
      this.#askAround(sample);
    };
    this.#cluster.run({ kind: isKey ? "KEY" : "OWNER", subjectId, row: this.#nextRow(subjectId, isKey), onCommit });
    this.#askAround(sample);
  }

  #nextRow(subjectId: string, isKey: boolean): Row | undefined {
    const before = this.#cluster.truth.now(subjectId);
    if (isKey && before !== undefined && this.#random.chance(0.15)) return undefined;
    return this.#cluster.newRow(before?.state === "active" ? "disabled" : "active");
  }

  /** The answer to COMMIT takes some time, or is lost. */
  #answerLater(process: SimulatedService, committed: Committed): void {
    if (this.#random.chance(0.1)) return;
    this.#time.after(this.#random.pause(2), () => process.machine.receive(() => process.acknowledge(committed)));
  }

  #askAround(sample: SampleKey): void {
    const times = [this.#random.pause(3), this.#random.pause(20), this.#random.pause(300)];
    if (this.#random.chance(0.3)) times.push(this.#random.between(4900, 5300));
    for (const ms of times) {
      const process = this.#random.pick(this.#processes);
      this.#time.after(ms, () => process.machine.receive(() => process.call([sample])));
    }
  }

  /** The first thing that should be in order by now and is not. */
  #unsettled(): string | undefined {
    for (const [at, { feed, machine }] of this.#processes.entries()) {
      const ageMs = this.#time.nowMs - machine.trueMs(feed.freshAtMs);
      if (ageMs > 3000) return `process ${at} has had no successful poll for ${ageMs.toFixed(1)} ms`;
    }
    // A recent change may still be on its way.
    const isOld = ({ atMs }: Committed) => atMs < this.#endMs;
    const missed = this.#watchers.map((watcher) => watcher.missed()).find((one) => one !== undefined && isOld(one));
    return missed && `a watcher was never told of ${nameOf(missed.subjectId)}, changed at ${missed.atMs.toFixed(1)} ms`;
  }
}
