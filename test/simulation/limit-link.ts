import type { LimitDecision, LimitRequest } from "../../src/limits/limit.ts";
import { type LimitStore, LimitStoreError } from "../../src/limits/limit-store.ts";
import { MemoryLimitStore } from "../../src/limits/memory-limit-store.ts";
import type { Reachability } from "./cluster.ts";
import type { Machine } from "./machine.ts";
import type { SeededRandom } from "./random.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** A decision of the store, whether or not a process received it. */
export interface StoreDecision {
  readonly request: LimitRequest;
  readonly allowed: boolean;
}

/** The shared store: in-memory windows, which every process reaches over a network of its own. */
export class SharedStore {
  reachability: Reachability = "answers";
  /** True times at which the store lost its data. */
  readonly lostAtMs: number[] = [];
  #clockOffsetMs = 1.7e12;
  #windows: MemoryLimitStore;
  readonly #time: VirtualTime;
  readonly #onDecision: (decision: StoreDecision) => void;

  constructor(time: VirtualTime, onDecision: (decision: StoreDecision) => void) {
    this.#time = time;
    this.#onDecision = onDecision;
    this.#windows = this.#empty();
  }

  async decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const decisions = await this.#windows.decide(requests);
    for (const [at, { allowed }] of decisions.entries()) {
      const request = requests[at]!;
      // A request without a limit only reports a count that a process has admitted alone before.
      if (!request.admitted) this.#onDecision({ request, allowed });
    }
    return decisions;
  }

  /** Loses all data: FLUSHALL, or a failover to an empty replica. */
  loseAll(): void {
    this.lostAtMs.push(this.#time.nowMs);
    this.#windows = this.#empty();
  }

  /** Sets the store's clock back. */
  stepBack(ms: number): void {
    this.#clockOffsetMs -= ms;
  }

  #empty(): MemoryLimitStore {
    const nowMs = () => this.#time.nowMs + this.#clockOffsetMs;
    return new MemoryLimitStore({ clock: { nowMs, monotonicMs: nowMs } });
  }
}

export interface LimitLinkDeps {
  readonly store: SharedStore;
  readonly machine: Machine;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
}

/** The network between one process and the shared store. */
export class LimitLink implements LimitStore {
  reachability: Reachability = "answers";
  /** Maximum time of one direction, in milliseconds. */
  slowestMs = 2;
  #troubledAtRanMs = Number.NEGATIVE_INFINITY;
  readonly #deps: LimitLinkDeps;

  constructor(deps: LimitLinkDeps) {
    this.#deps = deps;
  }

  partOf(): string {
    return "";
  }

  groupOf(): string {
    return "";
  }

  /** The running time of this process since the store last gave it a reason to decide alone. */
  healthyForMs(): number {
    const { ranMs } = this.#deps.machine;
    if (this.#reachability() !== "answers" || this.slowestMs > 20) this.#troubledAtRanMs = ranMs;
    return ranMs - this.#troubledAtRanMs;
  }

  decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    const { store, machine } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<readonly LimitDecision[]>();
    this.#way(async () => {
      const reachability = this.#reachability();
      if (reachability === "is silent") return;
      const decisions = reachability === "answers" ? await store.decide(requests) : undefined;
      this.#way(() => {
        if (this.#reachability() === "is silent") return;
        machine.receive(() =>
          decisions === undefined
            ? reject(new LimitStoreError("LOADING", "", { countedNothing: true }))
            : resolve(decisions),
        );
      });
    });
    return promise;
  }

  async reset(): Promise<void> {}

  renew(): void {}

  #way(arrive: () => void): void {
    this.#deps.time.after(this.#deps.random.between(0, this.slowestMs), arrive);
  }

  #reachability(): Reachability {
    return this.reachability === "answers" ? this.#deps.store.reachability : this.reachability;
  }
}
