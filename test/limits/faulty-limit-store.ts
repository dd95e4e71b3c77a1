import type { Clock } from "../../src/lib/clock.ts";
import type { LimitDecision, LimitRequest } from "../../src/limits/limit.ts";
import { type LimitStore, LimitStoreError } from "../../src/limits/limit-store.ts";
import { MemoryLimitStore } from "../../src/limits/memory-limit-store.ts";

export type Mood = "answers" | "is silent" | "fails";

/** A real store behind a wire that a test can break; it records each group that reached it. */
export class FaultyLimitStore implements LimitStore {
  mood: Mood = "answers";
  /** Subjects whose first word is this can't be decided, like those of one lost slot of a cluster. */
  failingGroup: string | undefined;
  readonly groups: (readonly LimitRequest[])[] = [];
  renewals = 0;
  /** The store decides at once, but its answers arrive only after this. */
  toldAfter: Promise<void> | undefined;
  readonly #clock: Clock;
  #store: MemoryLimitStore;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#store = new MemoryLimitStore({ clock });
  }

  partOf(): string {
    return "";
  }

  groupOf(subject: string): string {
    return this.failingGroup === undefined ? "" : subject.split(" ")[0]!;
  }

  async decide(requests: readonly LimitRequest[]): Promise<readonly LimitDecision[]> {
    this.groups.push(requests);
    await this.#wire();
    if (requests.some(({ subject }) => this.groupOf(subject) === this.failingGroup)) throw new Error("TRYAGAIN");
    const decisions = await this.#store.decide(requests);
    await this.toldAfter;
    return decisions;
  }

  async reset(subject: string, names: readonly string[]): Promise<void> {
    await this.#wire();
    return this.#store.reset(subject, names);
  }

  /** Loses all data. */
  lose(): void {
    this.#store = new MemoryLimitStore({ clock: this.#clock });
  }

  renew(): void {
    this.renewals++;
  }

  #wire(): Promise<void> {
    if (this.mood === "fails")
      return Promise.reject(new LimitStoreError("READONLY", "name the primary", { countedNothing: true }));
    return this.mood === "is silent" ? new Promise(() => {}) : Promise.resolve();
  }
}
