import { AggregatorRegistry, Gauge } from "prom-client";

/** One metric of one process, as prom-client tells it; it can be sent to another process. */
export interface Figure {
  readonly name: string;
  readonly type: string;
}

/**
 * The figures of several processes as those of one. Counters never go back, also when a process ends: what it had counted
 * when it was last asked stays in the sum, or Prometheus would take all that the others have counted for new.
 */
export class SummedMetrics {
  /** Of each process that runs, by its number: what it said last. */
  readonly #latest = new Map<number, readonly Figure[]>();
  /** What processes that have ended had counted. */
  #ended: readonly Figure[] = [];

  update(process: number, figures: readonly Figure[]): void {
    this.#latest.set(process, figures);
  }

  /** Whether the process has ever said anything. */
  knows(process: number): boolean {
    return this.#latest.has(process);
  }

  end(process: number): void {
    const counted = this.#latest.get(process)?.filter(({ type }) => type === "counter" || type === "histogram");
    this.#latest.delete(process);
    if (counted !== undefined) this.#ended = sumOf([this.#ended, counted]).getMetricsAsArray() as unknown as Figure[];
  }

  /** Text in Prometheus' exposition format. @param answering how many processes have just been asked and answered */
  text(answering: number): Promise<string> {
    const sum = sumOf([...this.#latest.values(), this.#ended]);
    const workers = new Gauge({
      name: "latchkey_workers_answering",
      help: "Worker processes that answered when they were asked for their figures.",
      registers: [sum],
    });
    workers.set(answering);
    return sum.metrics();
  }
}

function sumOf(processes: readonly (readonly Figure[])[]) {
  return AggregatorRegistry.aggregate([...processes]);
}
