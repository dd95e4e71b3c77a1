import { Histogram, Registry } from "prom-client";
import { expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { Metrics } from "../../src/rpc/ops/metrics.ts";

const NAME = "latchkey_call_duration_seconds";
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const { verifyKey } = KeyService.method;
const { login } = AuthService.method;

function metrics(certificateExpiresAtMs?: number): Metrics {
  return new Metrics({
    callsInFlight: () => 3,
    keyRecords: () => 7,
    feedAgeMs: () => 1500,
    feedStillMs: () => 0,
    isDatabaseAway: () => true,
    managementWaiting: () => 2,
    isLimiterDegraded: () => false,
    degradedDecisions: () => 13,
    forgottenLimits: () => 11,
    evictedKeys: () => 12,
    passwordHashes: () => 5,
    certificateExpiresAtMs: () => certificateExpiresAtMs,
  });
}

const linesOf = (text: string, name: string) => text.split("\n").filter((line) => line.includes(name));

it("the histogram of durations has the text of prom-client's own histogram, bounds included", async () => {
  const registry = new Registry();
  const histogram = new Histogram({
    name: NAME,
    help: "Time from a call's headers to its end.",
    labelNames: ["method"],
    buckets: BUCKETS,
    registers: [registry],
  });
  const ours = metrics();
  const samples = [...BUCKETS, 0, 0.0004, 0.00051, 0.3, 7, 1e6].map((seconds) => seconds * 1000);
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
  expect(text.length).toBeGreaterThan(2 * BUCKETS.length);
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

it("gauges read their sources at each scrape", async () => {
  const lines = linesOf(await metrics().text(), "latchkey_").filter((line) => !line.startsWith("#"));
  expect(lines).toEqual(
    expect.arrayContaining([
      "latchkey_calls_in_flight 3",
      "latchkey_key_records 7",
      "latchkey_change_feed_age_seconds 1.5",
      "latchkey_database_away 1",
      "latchkey_limits_degraded 0",
      "latchkey_limits_degraded_total 13",
      "latchkey_limits_forgotten_total 11",
      "latchkey_password_hashes_total 5",
    ]),
  );
});

it("the expiry of the TLS certificate is reported if there is one", async () => {
  const name = "latchkey_tls_certificate_expire_time_seconds";
  const figures = async (ours: Metrics) => linesOf(await ours.text(), name).filter((line) => !line.startsWith("#"));
  expect(await figures(metrics())).toEqual([]);
  expect(await figures(metrics(1_800_000_000_500))).toEqual([`${name} 1800000000.5`]);
});
