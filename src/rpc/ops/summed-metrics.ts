import { AggregatorRegistry, Gauge } from "prom-client";
import { WORKERS_ANSWERING } from "./metric-declarations.ts";

/** One metric of one process as plain data, in prom-client's shape. A process can send it to another one. */
export interface Figure {
  readonly name: string;
  readonly type: string;
}

/**
 * The metrics of several processes, added to one set. Counters never decrease, even when a process ends: the sum keeps
 * the counts that the process reported last. Without that, Prometheus would take a smaller sum for a restart, and count
 * all that remains a second time.
 */
export class SummedMetrics {
  /** The latest report of each process that runs, by the number of its worker. */
  readonly #latest = new Map<number, readonly Figure[]>();
  /** The sum of the last counts of all processes that ended. */
  #ended: readonly Figure[] = [];

  /** Records the latest report of a process. */
  update(process: number, figures: readonly Figure[]): void {
    this.#latest.set(process, figures);
  }

  /** Whether the process has reported. */
  knows(process: number): boolean {
    return this.#latest.has(process);
  }

  /** A process ended: keeps its counters and histograms, and drops its gauges. */
  end(process: number): void {
    const counted = this.#latest.get(process)?.filter(({ type }) => type === "counter" || type === "histogram");
    this.#latest.delete(process);
    if (counted !== undefined) this.#ended = sumOf([this.#ended, counted]).getMetricsAsArray() as unknown as Figure[];
  }

  /**
   * The sum as text in Prometheus' exposition format.
   *
   * @param answering number of processes that answered the latest request for their metrics
   */
  text(answering: number): Promise<string> {
    const sum = sumOf([...this.#latest.values(), this.#ended]);
    const workers = new Gauge({
      name: WORKERS_ANSWERING.name,
      help: WORKERS_ANSWERING.help,
      registers: [sum],
    });
    workers.set(answering);
    return sum.metrics();
  }
}

function sumOf(processes: readonly (readonly Figure[])[]) {
  return AggregatorRegistry.aggregate([...processes]);
}
