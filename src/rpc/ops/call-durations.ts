import type { DescMethod } from "@bufbuild/protobuf";

const NAME = "latchkey_call_duration_seconds";
/** Upper bounds of the buckets in seconds, inclusive. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** The histogram of one method. */
interface Series {
  /** Number of calls by the first bucket whose bound they do not exceed. The last entry counts longer calls. */
  readonly counts: number[];
  sumSeconds: number;
}

/**
 * The histogram of calls' durations. It has the shape of a prom-client metric, but counts in arrays, because
 * prom-client's own histogram takes as long for one call as the verdict on a key.
 */
export class CallDurations {
  /** A prom-client registry reads a metric's `name`, and calls `get`. */
  readonly name = NAME;
  readonly #series = new Map<DescMethod, Series>();

  /** Counts one call. */
  add(method: DescMethod, seconds: number): void {
    let series = this.#series.get(method);
    if (series === undefined) {
      series = { counts: new Array<number>(BUCKETS.length + 1).fill(0), sumSeconds: 0 };
      this.#series.set(method, series);
    }
    let at = 0;
    while (at < BUCKETS.length && seconds > BUCKETS[at]!) at++;
    series.counts[at]!++;
    series.sumSeconds += seconds;
  }

  /** The series of all methods, as prom-client's registry expects them. */
  async get() {
    const values = Array.from(this.#series, ([method, series]) => valuesOf(nameOf(method), series)).flat();
    return { name: NAME, help: "Time from a call's headers to its end.", type: "histogram", aggregator: "sum", values };
  }
}

/** The label of a method, such as `latchkey.v1.KeyService/VerifyKey`. */
export function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

function valuesOf(method: string, { counts, sumSeconds }: Series) {
  let total = 0;
  const buckets = counts.map((count, at) => {
    total += count;
    return { metricName: `${NAME}_bucket`, labels: { le: BUCKETS[at] ?? "+Inf", method }, value: total };
  });
  return [
    ...buckets,
    { metricName: `${NAME}_sum`, labels: { method }, value: sumSeconds },
    { metricName: `${NAME}_count`, labels: { method }, value: total },
  ];
}
