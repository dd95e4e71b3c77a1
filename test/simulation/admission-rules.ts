import { MINUTE_MS } from "../../src/lib/clock.ts";

/** An admitted cost, at the true time at which it was counted. */
interface Admission {
  readonly subject: string;
  readonly cost: number;
  readonly atMs: number;
  /** Admitted by the shared store, or by the process with this number alone. */
  readonly by: "store" | number;
}

/** Judges each admission by all earlier ones: never more than the limit in any interval of a minute. */
export class AdmissionRules {
  readonly #admitted: Admission[] = [];
  readonly #limits: ReadonlyMap<string, number>;
  readonly #processes: number;
  /** True times at which the store lost its data. */
  readonly #lostAtMs: readonly number[];

  constructor(limits: ReadonlyMap<string, number>, processes: number, lostAtMs: readonly number[]) {
    this.#limits = limits;
    this.#processes = processes;
    this.#lostAtMs = lostAtMs;
  }

  /**
   * The store admits at most L in a minute, and L more for each time that it lost its data. A process without the store
   * admits at most its share. Together that is at most (processes + 1) * L if the store lost nothing.
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
