/** One started service: each of its metrics moves when the thing happens that it counts. */
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { newId } from "../../src/lib/id.ts";
import { METRICS, type MetricDeclaration } from "../../src/rpc/ops/metric-declarations.ts";
import { errorOf } from "../support/errors.ts";
import { checkOf } from "../support/ext-authz.ts";
import { clientOf, PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";
import { LANE } from "../support/lane.ts";
import { bearer } from "../support/post-json.ts";
import { eventually } from "../support/until.ts";

const ON_SERVERS = inject("backing") === "servers";
const UNARY = LANE.unaryLane === false ? "grpc" : "unary_grpc";
const VERIFY_KEY = "/latchkey.v1.KeyService/VerifyKey";
const UNKNOWN_KEY = newId("key");

describe("the metrics of a service", () => {
  let service: TestService;
  let verifier: { readonly id: string; readonly secret: string };
  beforeAll(async () => {
    service = await startTestService();
    const admin = clientOf(service.address, AdminService, service.admin);
    const made = await admin.issueServiceCredential({ name: "shop", scopes: ["verify"] });
    verifier = { id: made.credential!.id, secret: made.secret };
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const scrape = async () => (await fetch(`http://${service.opsAddress}/metrics`)).text();
  const keys = (credential = verifier.secret) => clientOf(service.address, KeyService, credential);

  /** The values of series, 0 for each that does not exist yet. */
  async function valuesOf(series: readonly string[]): Promise<number[]> {
    const lines = (await scrape()).split("\n");
    return series.map((each) => Number(lines.find((line) => line.startsWith(`${each} `))?.slice(each.length) ?? 0));
  }
  const value = async (series: string) => (await valuesOf([series]))[0]!;

  /** How much each series grows while something happens. */
  async function growthOf(series: readonly string[], happens: () => Promise<unknown>): Promise<number[]> {
    const before = await valuesOf(series);
    await happens();
    const after = await valuesOf(series);
    return after.map((one, at) => one - before[at]!);
  }

  const verdict = (kind: string) => `latchkey_verdicts_total{verdict="${kind}",service="${verifier.id}"}`;
  const reads = (cache: string, result: string) =>
    `latchkey_key_cache_reads_total{cache="${cache}",result="${result}"}`;
  const lane = (name: string) => `latchkey_lane_calls_total{lane="${name}"}`;
  const waits = (pool: string, caller: string) =>
    `latchkey_database_wait_seconds_count{pool="${pool}",caller="${caller}"}`;
  const decisions = (mode: string, outcome: string) =>
    `latchkey_limit_decisions_total{mode="${mode}",outcome="${outcome}"}`;

  it("count verdicts by kind and service: of VerifyKey, each of a batch, and of Envoy's check", async () => {
    const { apiKey } = await service.newKey();
    const series = [verdict("valid"), verdict("invalid"), 'latchkey_batch_size_sum{method="BatchVerifyKeys"}'];
    const grown = await growthOf(series, async () => {
      await keys().verifyKey({ apiKey });
      await keys().verifyKey({ apiKey: "nonsense" });
      await keys().batchVerifyKeys({ requests: [{ apiKey }, { apiKey }, { apiKey: "nonsense" }] });
      const envoy = clientOf(service.address, Authorization, verifier.secret);
      await envoy.check(checkOf({ headers: [["x-api-key", apiKey]] }));
    });
    expect(grown).toEqual([4, 2, 3]);
  });

  it("count reads of caches: a miss, then hits; absences apart", async () => {
    const { apiKey, key, person } = await service.newKey();
    await keys().verifyKey({ apiKey: "nonsense" });
    // Each call also reads the record of its credential.
    const [first] = await growthOf([reads("keys", "miss")], () => keys().verifyKey({ apiKey }));
    expect(first).toBeGreaterThanOrEqual(1);
    // A poll that tells of the new key has it read once more.
    await eventually(async () => {
      const again = await growthOf([reads("keys", "miss"), reads("keys", "hit")], () => keys().verifyKey({ apiKey }));
      expect(again).toEqual([0, 2]);
    });
    const limits = ["miss", "hit", "absent"].map((result) => reads("limits", result));
    const grown = await growthOf(limits, async () => {
      for (const keyId of [key!.id, key!.id, UNKNOWN_KEY, UNKNOWN_KEY]) {
        await keys()
          .checkRateLimit({ subject: { case: "keyId", value: keyId } })
          .catch(() => {});
      }
    });
    expect(grown).toEqual([2, 1, 1]);
    const sessions = ["miss", "hit"].map((result) => reads("sessions", result));
    await person.keys.listKeys({});
    expect(await growthOf(sessions, () => person.keys.listKeys({}))).toEqual([0, 1]);
  });

  it("say how the change feed learns of changes, and count its open watches", async () => {
    const modes = await valuesOf(["listen", "poll"].map((mode) => `latchkey_change_feed_mode{mode="${mode}"}`));
    expect(modes.toSorted()).toEqual([0, 1]);
    expect(await value("latchkey_change_feed_age_seconds")).toBeLessThan(60);
    expect(await value("latchkey_watchers")).toBe(0);
    const ends = new AbortController();
    const watch = keys().watchRevocations({}, { signal: ends.signal })[Symbol.asyncIterator]();
    await watch.next();
    expect(await value("latchkey_watchers")).toBe(1);
    expect(await value("latchkey_calls_in_flight")).toBeGreaterThanOrEqual(1);
    ends.abort();
    await watch.next().catch(() => {});
    await eventually(async () => expect(await value("latchkey_watchers")).toBe(0));
  });

  it("count waits for PostgreSQL by pool and kind of caller, and its answers", async () => {
    const { apiKey, person } = await service.newKey();
    const admin = clientOf(service.address, AdminService, service.admin);
    const series = [
      ...[waits("management", "service"), waits("management", "user"), waits("management", "anonymous")],
      ...[waits("reads", "any"), 'latchkey_database_query_seconds_count{pool="reads"}'],
      'latchkey_database_query_seconds_count{pool="management"}',
    ];
    const [asService, asUser, asAnyone, ofReads, readAnswers, answers] = await growthOf(series, async () => {
      await admin.listUsers({});
      await person.keys.listKeys({});
      await person.keys.listKeys({});
      await clientOf(service.address, AuthService).login({ email: person.email, password: PASSWORD });
      await keys().verifyKey({ apiKey });
    });
    expect(asService).toBe(1);
    expect(asUser).toBe(2);
    expect(asAnyone).toBeGreaterThanOrEqual(1);
    expect(ofReads).toBeGreaterThanOrEqual(1);
    if (!ON_SERVERS) return;
    expect(readAnswers).toBeGreaterThanOrEqual(1);
    expect(answers).toBeGreaterThanOrEqual(4);
    expect(await value('latchkey_database_errors_total{pool="management"}')).toBe(0);
  });

  it("count decisions about limits by mode and outcome, and the groups that went to Redis", async () => {
    const decide = (name: string) =>
      keys().checkRateLimit({ subject: { case: "name", value: name }, limits: [{ name: "a", perMinute: 1 }] });
    const mode = ON_SERVERS ? "redis" : "memory";
    const series = [
      ...[decisions(mode, "admitted"), decisions(mode, "refused"), decisions("full_window", "refused")],
      ...['latchkey_batch_size_count{method="RedisGroup"}', "latchkey_redis_command_seconds_count"],
    ];
    const [admitted, refused, full, groups, commands] = await growthOf(series, async () => {
      for (let call = 0; call < 3; call++) await decide("tenant");
    });
    expect([admitted, refused, full, groups]).toEqual(ON_SERVERS ? [1, 1, 1, 2] : [1, 2, 0, 0]);
    if (ON_SERVERS) expect(commands).toBeGreaterThanOrEqual(2);
    const batch = await growthOf(['latchkey_batch_size_sum{method="BatchCheckRateLimits"}', series[0]!], async () => {
      const requests = ["a", "b", "c"].map((name) => ({
        subject: { case: "name" as const, value: name },
        limits: [{ name: "a", perMinute: 1 }],
      }));
      await keys().batchCheckRateLimits({ requests });
    });
    expect(batch).toEqual([3, 3]);
  });

  it("count calls by lane", async () => {
    const { apiKey } = await service.newKey();
    const post = (type: string, body: string | Uint8Array<ArrayBuffer>, path = VERIFY_KEY) =>
      fetch(`http://${service.address}${path}`, {
        method: "POST",
        headers: { "content-type": type, ...bearer(verifier.secret) },
        body,
      }).then((answer) => answer.arrayBuffer());
    const series = [UNARY, "connect", "grpc_web", "rest"].map(lane);
    const grown = await growthOf(series, async () => {
      await keys().verifyKey({ apiKey });
      await post("application/json", JSON.stringify({ apiKey }));
      await post("application/grpc-web+proto", new Uint8Array(5));
      await post("application/json", JSON.stringify({ apiKey }), "/v1/keys:verify");
    });
    expect(grown).toEqual([1, 1, 1, 1]);
    const envoy = clientOf(service.address, Authorization, verifier.secret);
    const ofEnvoy = await growthOf([lane(LANE.unaryLane === false ? "grpc" : "envoy")], () => envoy.check(checkOf({})));
    expect(ofEnvoy).toEqual([1]);
    expect(await value("latchkey_connections")).toBeGreaterThanOrEqual(1);
  });

  it("count password hashes and the waits for them", async () => {
    const person = await service.newPerson();
    const series = ["latchkey_password_hashes_total", "latchkey_password_hash_wait_seconds_count"];
    const login = () => clientOf(service.address, AuthService).login({ email: person.email, password: PASSWORD });
    expect(await growthOf(series, login)).toEqual([1, 1]);
    expect(await value("latchkey_password_hash_queue")).toBe(0);
  });

  it("count warnings of the log by message, and never a client's text", async () => {
    const message = "a forwarded address from an untrusted peer is ignored";
    const headers = { "x-forwarded-for": "203.0.113.77", "content-type": "application/json" };
    const grown = await growthOf([`latchkey_log_lines_total{level="warn",message="${message}"}`], async () => {
      await fetch(`http://${service.address}/latchkey.v1.AuthService/Login`, {
        method: "POST",
        headers,
        body: JSON.stringify({ email: "canary@example.com", password: PASSWORD }),
      }).then((answer) => answer.arrayBuffer());
    });
    expect(grown).toEqual([1]);
    const text = await scrape();
    expect(text).not.toMatch(/canary|203\.0\.113|kit_/);
  });

  it("have the build's versions", async () => {
    expect(await scrape()).toMatch(
      new RegExp(`^latchkey_build_info\\{version="\\d+\\.\\d+\\.\\d+[^"]*",node="${process.versions.node}"\\} 1$`, "m"),
    );
  });

  it("have only labels and values that the table declares, and a bounded number of series", async () => {
    const unknown = await errorOf(keys().checkRateLimit({ subject: { case: "keyId", value: UNKNOWN_KEY } }));
    expect(unknown.code).toBe(Code.NotFound);
    const lines = (await scrape()).split("\n").filter((line) => line.startsWith("latchkey_"));
    for (const line of lines) {
      const [, name, labels = ""] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line)!;
      const { declaration, isBucket } = declarationOf(name!);
      const given = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
        ([, label, said]) => [label!, said!] as const,
      );
      const own = given.filter(([label]) => !(isBucket && label === "le"));
      const declared = declaration.labels ?? {};
      expect(own.map(([label]) => label).toSorted(), line).toEqual(Object.keys(declared).toSorted());
      for (const [label, said] of own) {
        const values = declared[label]!;
        if (typeof values !== "string") expect(values, line).toContain(said);
      }
    }
    expect(lines.length).toBeLessThan(1000);
  });
});

function declarationOf(series: string): { readonly declaration: MetricDeclaration; readonly isBucket: boolean } {
  const rows: Readonly<Record<string, MetricDeclaration>> = METRICS;
  const [, base = "", part = ""] = /^(.*?)(_bucket|_sum|_count)?$/.exec(series)!;
  const declaration = rows[series] ?? (rows[base]?.type === "histogram" ? rows[base] : undefined);
  if (declaration === undefined) throw new Error(`${series} is no metric of the table`);
  return { declaration, isBucket: part === "_bucket" };
}
