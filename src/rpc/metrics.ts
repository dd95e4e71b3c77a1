import type { DescMethod } from "@bufbuild/protobuf";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { CallObserver } from "./concerns.ts";

/** What a gauge is read from when it is asked for. */
export interface MetricSources {
  /** Calls in flight, streams included. */
  callsInFlight(): number;
  /** Key records in memory. */
  keyRecords(): number;
  /** Milliseconds since the last good poll of the change feed was sent. */
  feedAgeMs(): number;
  /** Milliseconds since the position of the change feed last moved. */
  feedStillMs(): number;
  /** Whether records are served stale because the database does not answer. */
  isDatabaseAway(): boolean;
  /** Whether limits are judged by this process alone. */
  isLimiterDegraded(): boolean;
  /** Password hashes that were begun since the start. */
  passwordHashes(): number;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

interface Series {
  readonly durations: Histogram.Internal<"method">;
  readonly counts: Map<string, Counter.Internal>;
}

/** Figures for Prometheus. Labels are names of methods and codes alone: never what a client wrote. */
export class Metrics implements CallObserver {
  readonly #registry = new Registry();
  readonly #calls: Counter<"method" | "code">;
  readonly #durations: Histogram<"method">;
  /** Finding a labelled series costs more than counting in it, so each is found once. */
  readonly #series = new Map<DescMethod, Series>();

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#calls = new Counter({
      name: "latchkey_calls_total",
      help: "Calls that ended, by method and gRPC code.",
      labelNames: ["method", "code"],
      registers,
    });
    this.#durations = new Histogram({
      name: "latchkey_call_duration_seconds",
      help: "Time from a call's headers to its end.",
      labelNames: ["method"],
      buckets: SECONDS,
      registers,
    });
    new Counter({
      name: "latchkey_password_hashes_total",
      help: "Password hashes begun. Each costs tens of milliseconds of a core.",
      registers,
      collect: function collect() {
        this.reset();
        this.inc(sources.passwordHashes());
      },
    });
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect: function collect() {
          this.set(read());
        },
      });
    gauge("latchkey_calls_in_flight", "Calls in flight, streams included.", sources.callsInFlight);
    gauge("latchkey_key_records", "Key records in memory.", sources.keyRecords);
    gauge(
      "latchkey_change_feed_age_seconds",
      "Age of the last good poll of changes.",
      () => sources.feedAgeMs() / 1000,
    );
    gauge(
      "latchkey_change_feed_still_seconds",
      "How long the position of the change feed has stood still; an old write transaction holds it.",
      () => sources.feedStillMs() / 1000,
    );
    gauge("latchkey_database_away", "1 while the database does not answer.", () => Number(sources.isDatabaseAway()));
    gauge("latchkey_limits_degraded", "1 while limits are judged by this process alone.", () =>
      Number(sources.isLimiterDegraded()),
    );
  }

  finished(method: DescMethod, code: string, ms: number): void {
    const series = this.#series.get(method) ?? this.#newSeries(method);
    series.durations.observe(ms / 1000);
    let count = series.counts.get(code);
    if (count === undefined) {
      count = this.#calls.labels(nameOf(method), code);
      series.counts.set(code, count);
    }
    count.inc();
  }

  /** Text in Prometheus' exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #newSeries(method: DescMethod): Series {
    const series = { durations: this.#durations.labels(nameOf(method)), counts: new Map() };
    this.#series.set(method, series);
    return series;
  }
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
