import type { Cluster } from "./cluster.ts";
import type { Lane } from "./database-link.ts";
import type { SeededRandom } from "./random.ts";
import type { SimulatedService } from "./simulated-service.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Age at which changes are deleted from the log, in runs that delete any. */
const PRUNED_AFTER_MS = 4000;

/** The faults of a run: which, when, and for how long. */
export class Weather {
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #cluster: Cluster;
  readonly #processes: readonly SimulatedService[];
  #isClear = false;
  #wasSetBack = false;

  constructor(time: VirtualTime, random: SeededRandom, cluster: Cluster, processes: readonly SimulatedService[]) {
    this.#time = time;
    this.#random = random;
    this.#cluster = cluster;
    this.#processes = processes;
  }

  /** Draws the faults of a run. */
  forecast(endMs: number): void {
    const faults = [
      () => this.#serverFails(),
      () => this.#laneFails(),
      () => this.#isolate(),
      () => this.#goDeaf(),
      () => this.#slowDown(),
      () => this.#stall(),
      () => this.#stall(),
      () => this.#suspend(),
      () => this.#failOver(),
      () => this.#crash(),
      () => this.#crash(),
      () => this.#setMachineBack(),
      () => this.#stallXmin(),
      () => this.#pruneLog(),
      () => this.#setClocks(),
    ];
    const count = this.#random.pick([0, 1, 2, 4, 7]);
    for (let n = 0; n < count; n++) {
      const fault = this.#random.pick(faults);
      this.#time.after(this.#random.between(0, endMs), () => this.#isClear || fault());
    }
  }

  /** Ends all faults that last, and begins no new ones. */
  clear(): void {
    this.#isClear = true;
    this.#noteReadability();
    this.#cluster.reachability = "answers";
    this.#cluster.isInRecovery = false;
    for (const { link, machine } of this.#processes) {
      machine.wake();
      link.lanes.feed = "answers";
      link.lanes.reads = "answers";
      link.isDeaf = false;
      link.paceMs = 0.5;
    }
  }

  #serverFails(): void {
    this.#cluster.reachability = this.#random.pick(["refuses", "is silent"]);
    this.#for(this.#lastingMs(), () => {
      this.#cluster.reachability = "answers";
    });
  }

  #laneFails(): void {
    this.#cutOff(this.#random.pick(this.#processes), [this.#random.pick(["feed", "reads"])]);
  }

  #isolate(): void {
    this.#cutOff(this.#random.pick(this.#processes), ["feed", "reads"]);
  }

  #cutOff({ link }: SimulatedService, lanes: readonly Lane[]): void {
    const how = this.#random.pick(["refuses", "is silent"] as const);
    for (const lane of lanes) link.lanes[lane] = how;
    this.#for(this.#lastingMs(), () => {
      for (const lane of lanes) link.lanes[lane] = "answers";
    });
  }

  #goDeaf(): void {
    const { link } = this.#random.pick(this.#processes);
    link.isDeaf = true;
    this.#for(this.#lastingMs(), () => {
      link.isDeaf = false;
    });
  }

  #slowDown(): void {
    const { link } = this.#random.pick(this.#processes);
    link.paceMs = this.#random.pick([5, 20, 60]);
    this.#for(this.#lastingMs(), () => {
      link.paceMs = 0.5;
    });
  }

  #stall(): void {
    this.#random
      .pick(this.#processes)
      .machine.stall(this.#random.pick([300, 2000, 7000, 12_000]) * this.#random.next());
  }

  #suspend(): void {
    this.#random
      .pick(this.#processes)
      .machine.suspend(this.#random.pick([800, 4000, 15_000, 100_000]) * this.#random.next());
  }

  /** A standby takes over. It is a little behind, and other transactions may have used ids that it never saw. */
  #failOver(): void {
    const checkpoint = this.#cluster.model.checkpoint();
    this.#time.after(this.#random.pause(300), () => {
      if (this.#isClear) return;
      this.#cluster.isInRecovery = this.#random.chance(0.5);
      this.#cluster.reachability = this.#random.pick(["answers", "refuses", "is silent"]);
      this.#cluster.takeOver(checkpoint, true);
      if (this.#random.chance(0.5)) this.#cluster.model.burnXacts(this.#random.whole(0, 200));
      this.#for(this.#random.pause(1000), () => {
        this.#cluster.isInRecovery = false;
        this.#cluster.reachability = "answers";
      });
    });
  }

  /**
   * A backend is killed. Recovery assigns ids again that were used and not committed to disk. The next writers get
   * them, mostly before the next poll.
   */
  #crash(): void {
    const { model } = this.#cluster;
    model.burnXacts(this.#random.whole(1, 200));
    this.#time.after(this.#random.pause(800), () => {
      if (this.#isClear) return;
      this.#cluster.crash();
      this.#time.after(this.#random.pause(100), () => model.burnXacts(this.#random.whole(0, 400)));
    });
  }

  /**
   * A machine is set back together with its memory: the epoch is the same, with lower transaction ids. Only the ids
   * show it. So a process or a client can notice it only if it saw some of the lost ids before they are all assigned
   * again. It happens once in a run: a second time could assign all of them while a client is disconnected.
   */
  #setMachineBack(): void {
    if (this.#wasSetBack) return;
    const { model } = this.#cluster;
    const links = this.#processes.map(({ link }) => link);
    if (links.some(({ polledLife }) => polledLife !== model.lives)) return;
    this.#wasSetBack = true;
    const checkpoint = model.checkpoint();
    model.burnXacts(1000);
    this.#for(1000 + this.#random.pause(300), () => {
      const haveAllSeen = links.every(({ polledXmax }) => polledXmax >= checkpoint.nextXact + 1000);
      if (haveAllSeen && !this.#isClear) this.#cluster.takeOver(checkpoint, false);
    });
  }

  /** Holds xmin with an old write transaction somewhere in the cluster. */
  #stallXmin(): void {
    const { model } = this.#cluster;
    const { lives } = model;
    const xactId = model.beginXact();
    this.#for(this.#lastingMs(), () => {
      // After a failover or a crash the id may belong to another transaction.
      if (model.lives === lives) model.rollBack(xactId);
    });
  }

  #pruneLog(): void {
    this.#cluster.model.prune(this.#cluster.clockAt(this.#time.nowMs - PRUNED_AFTER_MS));
  }

  #setClocks(): void {
    const byMs = this.#random.between(-3.6e6, 3.6e6);
    if (this.#random.chance(0.5)) this.#cluster.setClock(byMs);
    else this.#random.pick(this.#processes).machine.jump(byMs);
  }

  /** Records how readable the database was, before that changes. */
  #noteReadability(): void {
    for (const { link } of this.#processes) link.readableForMs();
  }

  #lastingMs(): number {
    return this.#random.pick([200, 2000, 8000, 20_000]) * this.#random.next();
  }

  #for(ms: number, end: () => void): void {
    this.#time.after(ms, () => {
      this.#noteReadability();
      end();
    });
  }
}
