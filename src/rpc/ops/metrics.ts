import type { DescMethod } from "@bufbuild/protobuf";
import { collectDefaultMetrics, type Metric, Registry } from "prom-client";
import { type Histogram, Histograms, SECONDS } from "../../lib/histogram.ts";
import type { CallObserver } from "../calls/call-log.ts";
import { METRICS, type MetricDeclaration, type MetricName } from "./metric-declarations.ts";
import type { Figure } from "./summed-metrics.ts";

/** The labels of a declaration: a closed set of values, or any text. */
type LabelsOf<D> = D extends { readonly labels: infer L }
  ? { readonly [K in keyof L]: L[K] extends readonly (infer V)[] ? V : string }
  : Readonly<Record<never, string>>;

/** The series of a metric: their labels, and their values. */
type SeriesOf<D, V> = Iterable<readonly [labels: LabelsOf<D>, value: V]>;

/** Reads the value of a metric, or of its series if it has labels. A gauge without a value has no series. */
type SourceOf<D> = D extends { readonly type: "histogram" }
  ? D extends { readonly labels: unknown }
    ? () => SeriesOf<D, Histogram>
    : () => Histogram
  : D extends { readonly labels: unknown }
    ? () => SeriesOf<D, number>
    : () => number | undefined;

/** The metrics that `Metrics` counts itself, as the observer of calls. */
type OwnMetric = "latchkey_calls_total" | "latchkey_call_duration_seconds";

type AllSources = { readonly [N in MetricName]: SourceOf<(typeof METRICS)[N]> };

/** The sources of this process's metrics, which are read at each scrape and at no other time. */
export type MetricSources = Omit<AllSources, OwnMetric>;

/** One sample, as prom-client's registry expects it. */
interface Sample {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The Prometheus metrics of this process. No label is a client's text, and the values of each are bounded. */
export class Metrics implements CallObserver {
  readonly #registry = new Registry();
  readonly #durations = new Histograms<DescMethod>(SECONDS);
  /** Number of calls by method and code. Plain numbers, because they become metrics at a scrape only. */
  readonly #counts = new Map<DescMethod, Map<string, number>>();

  constructor(sources: MetricSources) {
    collectDefaultMetrics({ register: this.#registry });
    const all: AllSources = {
      ...sources,
      latchkey_calls_total: () => this.#calls(),
      latchkey_call_duration_seconds: () => this.#durationsByMethod(),
    };
    for (const name of Object.keys(METRICS) as MetricName[]) {
      this.#registry.registerMetric(metricOf(name, all[name]) as unknown as Metric);
    }
  }

  /** Counts one call that ended. `code` is the name of its gRPC code. */
  finished(method: DescMethod, code: string, ms: number): void {
    this.#durations.of(method).observeMs(ms);
    let codes = this.#counts.get(method);
    if (codes === undefined) {
      codes = new Map();
      this.#counts.set(method, codes);
    }
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }

  /** The metrics as data, for SummedMetrics in another process. */
  async figures(): Promise<readonly Figure[]> {
    return (await this.#registry.getMetricsAsJSON()) as unknown as Figure[];
  }

  /** The metrics as text in Prometheus' exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  *#calls() {
    for (const [method, codes] of this.#counts) {
      for (const [code, count] of codes) yield [{ method: nameOf(method), code }, count] as const;
    }
  }

  *#durationsByMethod() {
    for (const [method, histogram] of this.#durations) yield [{ method: nameOf(method) }, histogram] as const;
  }
}

/** The label of a method, such as `latchkey.v1.KeyService/VerifyKey`. */
function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/**
 * A metric in the shape that prom-client's registry reads: its `name`, and what `get` returns. prom-client's own
 * counters and gauges would be a second copy of each number.
 */
function metricOf(name: MetricName, read: AllSources[MetricName]) {
  const { type, help, workers = "sum" }: MetricDeclaration = METRICS[name];
  return {
    name,
    get: async () => ({ name, help, type, aggregator: workers, values: [...samplesOf(name, read())] }),
  };
}

function* samplesOf(name: string, read: ReturnType<AllSources[MetricName]>): Generator<Sample> {
  if (read === undefined) return;
  if (typeof read === "number") yield { labels: {}, value: read };
  else if (!(Symbol.iterator in read)) yield* bucketsOf(name, {}, read);
  else {
    for (const [labels, value] of read) {
      if (typeof value === "number") yield { labels, value };
      else yield* bucketsOf(name, labels, value);
    }
  }
}

function* bucketsOf(name: string, labels: Sample["labels"], { bounds, counts, sum }: Histogram): Generator<Sample> {
  let total = 0;
  for (const [at, count] of counts.entries()) {
    total += count;
    yield { metricName: `${name}_bucket`, labels: { le: bounds[at] ?? "+Inf", ...labels }, value: total };
  }
  yield { metricName: `${name}_sum`, labels, value: sum };
  yield { metricName: `${name}_count`, labels, value: total };
}
