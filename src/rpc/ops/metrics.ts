import type { DescMethod } from "@bufbuild/protobuf";
import { type Aggregator, Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import type { CallObserver } from "../calls/concerns.ts";
import { CallDurations, nameOf } from "./call-durations.ts";
import type { Figure } from "./summed-metrics.ts";

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
  /** Management calls and work of the service that wait for their share of the database's connections. */
  managementWaiting(): number;
  /** Whether limits are judged by this process alone. */
  isLimiterDegraded(): boolean;
  /** Limits that were judged by this process alone since the start, because Redis did not answer. */
  degradedDecisions(): number;
  /** Limits in use that were forgotten for want of room since the start. */
  forgottenLimits(): number;
  /** Keys that Redis has evicted since its start, by its own count. */
  evictedKeys(): number;
  /** Password hashes that were begun since the start. */
  passwordHashes(): number;
  /** When the TLS certificate that is served expires, by the host's clock; undefined without TLS. */
  certificateExpiresAtMs(): number | undefined;
}

/** Figures for Prometheus. Labels are names of methods and codes alone: never what a client wrote. */
export class Metrics implements CallObserver {
  readonly #registry = new Registry();
  readonly #durations = new CallDurations();
  /** How many calls ended with each code. They become a series when they are asked for: until then a number will do. */
  readonly #counts = new Map<DescMethod, Map<string, number>>();

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const counts = this.#counts;
    new Counter({
      name: "latchkey_calls_total",
      help: "Calls that ended, by method and gRPC code.",
      labelNames: ["method", "code"],
      registers,
      collect() {
        this.reset();
        for (const [method, codes] of counts) {
          for (const [code, count] of codes) this.inc({ method: nameOf(method), code }, count);
        }
      },
    });
    this.#registry.registerMetric(this.#durations as unknown as Metric);
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
      "Decisions on limits by this process alone because Redis did not answer.",
      sources.degradedDecisions,
    );
    counter(
      "latchkey_limits_forgotten_total",
      "Limits in use that this process forgot for want of room. Each admits up to its figure once more.",
      sources.forgottenLimits,
    );
    // The figure of several processes is the sum of theirs, or that of the one that is worst off.
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
      "Age of the last good poll of changes.",
      () => sources.feedAgeMs() / 1000,
    );
    gauge(
      "latchkey_change_feed_still_seconds",
      "How long the position of the change feed has stood still; an old write transaction holds it.",
      () => sources.feedStillMs() / 1000,
    );
    gauge("latchkey_database_away", "1 while the database does not answer.", () => Number(sources.isDatabaseAway()));
    gauge("latchkey_management_waiting", "Management calls that wait.", sources.managementWaiting, "sum");
    gauge(
      "latchkey_tls_certificate_expire_time_seconds",
      "When the TLS certificate that is served expires, in seconds since 1970. Absent without TLS.",
      () => divided(sources.certificateExpiresAtMs(), 1000),
      "min",
    );
    // A gauge, since it is Redis' count and not this process': of several processes each tells the same.
    gauge(
      "latchkey_redis_evicted_keys",
      "Keys that Redis has evicted since its start, by its own count. A window that was evicted begins again.",
      sources.evictedKeys,
    );
    gauge("latchkey_limits_degraded", "1 while Redis is given up, after a few decisions without it.", () =>
      Number(sources.isLimiterDegraded()),
    );
  }

  finished(method: DescMethod, code: string, ms: number): void {
    this.#durations.add(method, ms / 1000);
    let codes = this.#counts.get(method);
    if (codes === undefined) {
      codes = new Map();
      this.#counts.set(method, codes);
    }
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }

  /** All of it as data, to be added to that of other processes. */
  async figures(): Promise<readonly Figure[]> {
    return (await this.#registry.getMetricsAsJSON()) as unknown as Figure[];
  }

  /** Text in Prometheus' exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

function divided(value: number | undefined, by: number): number | undefined {
  return value === undefined ? undefined : value / by;
}
