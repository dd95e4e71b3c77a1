import { MINUTE_MS } from "../../src/limits/limit.ts";

/** Something that was admitted, at the moment at which it was counted; true time. */
interface Admission {
  readonly subject: string;
  readonly cost: number;
  readonly atMs: number;
  /** By the shared store, or by this process alone. */
  readonly by: "store" | number;
}

/** Judges each admission by all before: never more than the limit in any interval of a minute. */
export class AdmissionRules {
  readonly #admitted: Admission[] = [];
  readonly #limits: ReadonlyMap<string, number>;
  readonly #processes: number;
  /** True times at which the store lost all. */
  readonly #lostAtMs: readonly number[];

  constructor(limits: ReadonlyMap<string, number>, processes: number, lostAtMs: readonly number[]) {
    this.#limits = limits;
    this.#processes = processes;
    this.#lostAtMs = lostAtMs;
  }

  /**
   * The store alone admits L in a minute, and once more for each time that it lost all; each process without it its
   * share. Together that is never more than (processes + 1) * L where the store lost nothing.
   */
  faultOf(admission: Admission): string | undefined {
    const { subject, atMs, by } = admission;
    this.#admitted.push(admission);
    const limit = this.#limits.get(subject)!;
    const losses = by === "store" ? this.#lostAtMs.filter((lostAtMs) => lostAtMs > atMs - MINUTE_MS).length : 0;
    const most = by === "store" ? limit * (1 + losses) : Math.ceil(limit / this.#processes);
    const admitted = this.#total(subject, by, atMs);
    return admitted <= most ? undefined : `${by} admitted ${admitted} of ${subject} in a minute, at most ${most}`;
  }

  #total(subject: string, by: Admission["by"], atMs: number): number {
    let total = 0;
    for (let at = this.#admitted.length - 1; at >= 0; at--) {
      const one = this.#admitted[at]!;
      if (one.atMs <= atMs - MINUTE_MS) break;
      if (one.subject === subject && one.by === by) total += one.cost;
    }
    return total;
  }
}
