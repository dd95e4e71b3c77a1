import { Counter, Histogram as PromHistogram, Registry } from "prom-client";
import { expect, it } from "vitest";
import { metricsPage } from "../../scripts/metrics-page.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { VerdictCounts } from "../../src/keys/verdict-counts.ts";
import { Histogram, SECONDS } from "../../src/lib/histogram.ts";
import { METRICS, type MetricDeclaration } from "../../src/rpc/ops/metric-declarations.ts";
import { type MetricSources, Metrics } from "../../src/rpc/ops/metrics.ts";
import { SummedMetrics } from "../../src/rpc/ops/summed-metrics.ts";

const NAME = "latchkey_call_duration_seconds";
const { verifyKey } = KeyService.method;
const { login } = AuthService.method;
const DECLARATIONS: readonly [string, MetricDeclaration][] = Object.entries(METRICS);

/** The metrics of a process in which nothing happened, except what `sources` say. */
function metrics(sources: Partial<MetricSources> = {}): Metrics {
  const nothing = DECLARATIONS.map(([name, { type, labels }]) => {
    if (labels !== undefined) return [name, () => []];
    return [name, type === "histogram" ? () => new Histogram(SECONDS) : () => 0];
  });
  return new Metrics({ ...Object.fromEntries(nothing), ...sources });
}

const linesOf = (text: string, name: string) => text.split("\n").filter((line) => line.includes(name));
const series = (text: string, name: string) => linesOf(text, name).filter((line) => !line.startsWith("#"));

it("the histogram of durations has the text of prom-client's own histogram, bounds included", async () => {
  const registry = new Registry();
  const histogram = new PromHistogram({
    name: NAME,
    help: "Time from a call's headers to its end.",
    labelNames: ["method"],
    buckets: [...SECONDS],
    registers: [registry],
  });
  const ours = metrics();
  const samples = [...SECONDS, 0, 0.0004, 0.00051, 0.3, 7, 1e6].map((seconds) => seconds * 1000);
  for (const [method, name] of [
    [verifyKey, "latchkey.v1.KeyService/VerifyKey"],
    [login, "latchkey.v1.AuthService/Login"],
  ] as const) {
    for (const ms of samples) {
      ours.finished(method, "OK", ms);
      histogram.labels(name).observe(ms / 1000);
    }
  }
  const text = linesOf(await ours.text(), NAME);
  expect(text).toEqual(linesOf(await registry.metrics(), NAME));
  expect(text.length).toBeGreaterThan(2 * SECONDS.length);
});

it("a counter has the text of prom-client's own counter", async () => {
  const registry = new Registry();
  const name = "latchkey_lane_calls_total";
  const { help } = METRICS[name];
  new Counter({ name, help, labelNames: ["lane"], registers: [registry] }).labels("rest").inc(3);
  const ours = metrics({ [name]: () => [[{ lane: "rest" }, 3] as const] });
  expect(linesOf(await ours.text(), name)).toEqual(linesOf(await registry.metrics(), name));
});

it("calls are counted by method and code, and a scrape changes no count", async () => {
  const ours = metrics();
  for (const code of ["OK", "OK", "UNAVAILABLE"]) ours.finished(verifyKey, code, 1);
  ours.finished(login, "UNAUTHENTICATED", 1);
  await ours.text();
  ours.finished(verifyKey, "OK", 1);
  expect(linesOf(await ours.text(), "latchkey_calls_total{")).toEqual([
    'latchkey_calls_total{method="latchkey.v1.KeyService/VerifyKey",code="OK"} 3',
    'latchkey_calls_total{method="latchkey.v1.KeyService/VerifyKey",code="UNAVAILABLE"} 1',
    'latchkey_calls_total{method="latchkey.v1.AuthService/Login",code="UNAUTHENTICATED"} 1',
  ]);
});

it("sources are read at each scrape", async () => {
  let records = 7;
  const ours = metrics({ latchkey_key_records: () => records, latchkey_change_feed_age_seconds: () => 1.5 });
  expect(await ours.text()).toContain("latchkey_key_records 7\n");
  records = 8;
  expect(await ours.text()).toContain("latchkey_key_records 8\n");
  expect(await ours.text()).toContain("latchkey_change_feed_age_seconds 1.5\n");
});

it("a gauge without a value has no series", async () => {
  const name = "latchkey_tls_certificate_expire_time_seconds";
  const figures = async (at: number | undefined) => series(await metrics({ [name]: () => at }).text(), name);
  expect(await figures(undefined)).toEqual([]);
  expect(await figures(1_800_000_000.5)).toEqual([`${name} 1800000000.5`]);
});

it("every metric of the table is in the text with its type, and in docs/METRICS.md", async () => {
  const [text, page] = await Promise.all([metrics().text(), metricsPage()]);
  for (const [name, { type }] of DECLARATIONS) {
    expect(text).toContain(`# TYPE ${name} ${type}\n`);
    expect(page).toContain(`| \`${name}\` | ${type} |`);
  }
});

it("names and units follow Prometheus' conventions", () => {
  for (const [name, { type, workers }] of DECLARATIONS) {
    expect(name).toMatch(/^latchkey_[a-z0-9_]+$/);
    expect(name.endsWith("_total"), name).toBe(type === "counter");
    // A worker's counter must never be dropped from the sum.
    if (type !== "gauge") expect(workers, name).toBeUndefined();
    else expect(workers, name).toBeDefined();
  }
});

it("over several workers counters and histograms add, and gauges do as the table says", async () => {
  const sizes = new Histogram([1, 2]);
  sizes.observe(2);
  const worker = (age: number) =>
    metrics({
      latchkey_change_feed_age_seconds: () => age,
      latchkey_key_records: () => 10,
      latchkey_tls_certificate_expire_time_seconds: () => 1000 + age,
      latchkey_build_info: () => [[{ version: "1", node: "2" }, 1] as const],
      latchkey_verdicts_total: () => [[{ verdict: "valid", service: `svc_${age}` }, 3] as const],
      latchkey_shed_calls_total: () => [[{ reason: "calls" }, 4] as const],
      latchkey_batch_size: () => [[{ method: "RedisGroup" }, sizes] as const],
    });
  const sums = new SummedMetrics();
  sums.update(1, await worker(1).figures());
  sums.update(2, await worker(2).figures());
  const values = async () => (await sums.text(2)).split("\n");
  expect(await values()).toEqual(
    expect.arrayContaining([
      "latchkey_change_feed_age_seconds 2",
      "latchkey_key_records 20",
      "latchkey_tls_certificate_expire_time_seconds 1001",
      'latchkey_build_info{version="1",node="2"} 1',
      'latchkey_verdicts_total{verdict="valid",service="svc_1"} 3',
      'latchkey_verdicts_total{verdict="valid",service="svc_2"} 3',
      'latchkey_shed_calls_total{reason="calls"} 8',
      'latchkey_batch_size_bucket{le="1",method="RedisGroup"} 0',
      'latchkey_batch_size_bucket{le="2",method="RedisGroup"} 2',
      'latchkey_batch_size_sum{method="RedisGroup"} 4',
      "latchkey_workers_answering 2",
    ]),
  );
  sums.end(2);
  expect(await values()).toEqual(
    expect.arrayContaining([
      "latchkey_key_records 10",
      'latchkey_verdicts_total{verdict="valid",service="svc_2"} 3',
      'latchkey_shed_calls_total{reason="calls"} 8',
      'latchkey_batch_size_sum{method="RedisGroup"} 4',
    ]),
  );
});

it("verdicts have counts for at most as many services as allowed, and lose none", () => {
  const verdicts = new VerdictCounts(2);
  for (const service of ["svc_a", "svc_b", "svc_c", "svc_a", "svc_d", undefined, "svc_b"]) {
    verdicts.verdictGiven("valid", service);
  }
  verdicts.verdictGiven("revoked", "svc_c");
  expect([...verdicts].map(([{ verdict, service }, count]) => `${service} ${verdict} ${count}`)).toEqual([
    "svc_a valid 2",
    "svc_b valid 2",
    "other valid 2",
    "other revoked 1",
    "none valid 1",
  ]);
});
