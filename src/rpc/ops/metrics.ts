import type { DescMethod } from "@bufbuild/protobuf";
import { type Aggregator, Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import type { CallObserver } from "../calls/call-log.ts";
import { CallDurations, nameOf } from "./call-durations.ts";
import type { Figure } from "./summed-metrics.ts";

/** The sources that gauges and counters read at each scrape. */
export interface MetricSources {
  /** Calls in flight, streams included. */
  callsInFlight(): number;
  /** Key records in memory. */
  keyRecords(): number;
  /** Milliseconds since the change feed sent its last successful poll. */
  feedAgeMs(): number;
  /** Milliseconds since the oldest open write transaction last was another one; 0 without one. */
  feedStillMs(): number;
  /** Whether the service serves stale records because the database does not answer. */
  isDatabaseAway(): boolean;
  /** Number of management calls and of the service's own tasks that wait for a database connection. */
  managementWaiting(): number;
  /** Whether this process currently decides limits alone. */
  isLimiterDegraded(): boolean;
  /** Number of limits since the start that this process decided alone, because Redis did not answer. */
  degradedDecisions(): number;
  /** Number of limits in use since the start that this process dropped because its memory for limits was full. */
  forgottenLimits(): number;
  /** Number of keys that Redis evicted since Redis started, by its own count. */
  evictedKeys(): number;
  /** Number of password hashes that this process began since the start. */
  passwordHashes(): number;
  /** When the TLS certificate in use expires, by the host's clock; undefined without TLS. */
  certificateExpiresAtMs(): number | undefined;
}

/** The Prometheus metrics of this process. Labels are names of methods and codes only, never a client's text. */
export class Metrics implements CallObserver {
  readonly #registry = new Registry();
  readonly #durations = new CallDurations();
  /** Number of calls by method and code. Plain numbers, because a prom-client counter is needed at a scrape only. */
  readonly #counts = new Map<DescMethod, Map<string, number>>();

  constructor(sources: MetricSources) {
    collectDefaultMetrics({ register: this.#registry });
    this.#addCalls();
    this.#addCounters(sources);
    this.#addGauges(sources);
  }

  /** Counts one call that ended. `code` is the name of its gRPC code. */
  finished(method: DescMethod, code: string, ms: number): void {
    this.#durations.add(method, ms / 1000);
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

  #addCalls(): void {
    const counts = this.#counts;
    new Counter({
      name: "latchkey_calls_total",
      help: "Calls that ended, by method and gRPC code.",
      labelNames: ["method", "code"],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [method, codes] of counts) {
          for (const [code, count] of codes) this.inc({ method: nameOf(method), code }, count);
        }
      },
    });
    this.#registry.registerMetric(this.#durations as unknown as Metric);
  }

  #addCounters(sources: MetricSources): void {
    const registers = [this.#registry];
    const counter = (name: string, help: string, read: () => number) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    counter(
      "latchkey_password_hashes_total",
      "Password hashes begun. Each costs tens of milliseconds of a core.",
      sources.passwordHashes,
    );
    counter(
      "latchkey_limits_degraded_total",
      "Limits that this process decided alone because Redis did not answer.",
      sources.degradedDecisions,
    );
    counter(
      "latchkey_limits_forgotten_total",
      "Limits in use that this process dropped because its memory for limits was full. Each can admit up to its number again.",
      sources.forgottenLimits,
    );
  }

  #addGauges(sources: MetricSources): void {
    const registers = [this.#registry];
    // Over several processes, a gauge is the sum of their values, or the value of the worst process.
    const gauge = (name: string, help: string, read: () => number | undefined, aggregator: Aggregator = "max") =>
      new Gauge({
        name,
        help,
        aggregator,
        registers,
        collect: function collect() {
          const value = read();
          // A gauge without a value has no series.
          if (value === undefined) this.remove();
          else this.set(value);
        },
      });
    gauge("latchkey_calls_in_flight", "Calls in flight, streams included.", sources.callsInFlight, "sum");
    gauge("latchkey_key_records", "Key records in memory.", sources.keyRecords, "sum");
    gauge(
      "latchkey_change_feed_age_seconds",
      "Age of the last successful poll of the change feed.",
      () => sources.feedAgeMs() / 1000,
    );
    gauge(
      "latchkey_change_feed_still_seconds",
      "Time since the oldest open write transaction of the cluster, as the change feed sees it, last was another one.",
      () => sources.feedStillMs() / 1000,
    );
    gauge("latchkey_database_away", "1 while the database does not answer.", () => Number(sources.isDatabaseAway()));
    gauge(
      "latchkey_management_waiting",
      "Management calls and own tasks that wait for a database connection.",
      sources.managementWaiting,
      "sum",
    );
    gauge(
      "latchkey_tls_certificate_expire_time_seconds",
      "When the TLS certificate in use expires, in seconds since 1970. Absent without TLS.",
      () => divided(sources.certificateExpiresAtMs(), 1000),
      "min",
    );
    // A gauge, because the count is Redis's own: all processes report the same number, so it must not be summed.
    gauge(
      "latchkey_redis_evicted_keys",
      "Keys that Redis evicted since Redis started. An evicted window begins again.",
      sources.evictedKeys,
    );
    gauge(
      "latchkey_limits_degraded",
      "1 while this process decides limits alone, after several decisions without an answer from Redis.",
      () => Number(sources.isLimiterDegraded()),
    );
  }
}

function divided(value: number | undefined, by: number): number | undefined {
  return value === undefined ? undefined : value / by;
}
