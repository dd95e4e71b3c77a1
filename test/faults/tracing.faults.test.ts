/**
 * The traces that an operator gets with examples/tracing.mjs, from a folder outside of the service: a collector of the
 * test decodes what a real process sends. A second collector takes the spans and never answers.
 */
import { cpSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf, PASSWORD } from "../support/clients.ts";
import { type Collector, type ReceivedSpan, startCollector } from "../support/otlp-collector.ts";
import { newTrace } from "../support/recorded-spans.ts";
import { findSecrets, secretOf } from "../support/secret-scan.ts";
import { canStart, freshPostgres, freshRedis } from "../support/shared-servers.ts";
import { bootstrapOperator, type ReadyService, serviceEnvironment, startService } from "../support/spawned-service.ts";

const ROOT = join(import.meta.dirname, "../..");
const [SERVER, CLIENT] = [2, 3];
/** The drain of a second, the second that spans have, and room for a busy machine. */
const MAX_STOP_MS = 8000;

describe.skipIf(!canStart("postgres") || !canStart("redis"))("a service with examples/tracing.mjs", () => {
  const stack = new AsyncDisposableStack();
  let collector: Collector;
  let admin: string;
  let service: ReadyService;
  /** A process whose collector never answers. */
  let unheard: ReadyService;
  beforeAll(async () => {
    const folder = stack.use(await operatorsFolder());
    collector = stack.use(await startCollector());
    const silent = stack.use(await startCollector({ isSilent: true }));
    const env = serviceEnvironment({
      DATABASE_URL: await freshPostgres(),
      REDIS_URL: await freshRedis(),
      OTEL_TRACES_SAMPLER_ARG: "1",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    });
    admin = await bootstrapOperator(env);
    const flags = ["--import", pathToFileURL(join(folder.path, "tracing.mjs")).href];
    const start = ({ url }: Collector) => startService({ ...env, OTEL_EXPORTER_OTLP_ENDPOINT: url }, flags);
    [service, unheard] = await Promise.all([start(collector), start(silent)]);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), unheard?.stop()]);
    await stack.disposeAsync();
  });

  it("sends its spans, also the last ones before its end, and no secret", async () => {
    const trace = newTrace();
    const { headers } = trace;
    const email = "person@example.com";
    const { tokens } = await clientOf(service.address, AuthService).register({ email, password: PASSWORD });
    const keys = clientOf(service.address, KeyService, tokens!.accessToken);
    const { apiKey } = await keys.issueKey({ name: "a key" }, { headers });
    await clientOf(service.address, KeyService, admin).verifyKey({ apiKey }, { headers });
    await service.stop();

    const spans = collector.spans.filter(({ traceId }) => traceId === trace.traceId);
    const [issue, verify, ...more] = spans.filter(({ kind }) => kind === SERVER);
    expect(more).toEqual([]);
    expect(issue).toMatchObject({
      name: "latchkey.v1.KeyService/IssueKey",
      parentSpanId: trace.spanId,
      resource: { "service.name": "latchkey", "deployment.environment.name": "test" },
      attributes: { "rpc.system.name": "grpc", "rpc.response.status_code": "OK" },
      scope: expect.stringMatching(/^latchkey \d/),
    });
    expect(verify).toMatchObject({ name: "latchkey.v1.KeyService/VerifyKey", parentSpanId: trace.spanId });
    const below = (parent: ReceivedSpan | undefined) =>
      spans
        .filter(({ kind, parentSpanId }) => kind === CLIENT && parentSpanId === parent?.spanId)
        .map(({ name }) => name);
    expect(below(issue)).toEqual(expect.arrayContaining(["INSERT api_keys", "COMMIT"]));
    // The service's credential, then the key.
    expect(below(verify)).toEqual(["SELECT api_keys", "SELECT api_keys", "EVALSHA"]);

    const secrets = [apiKey, admin, tokens!.accessToken, tokens!.refreshToken, PASSWORD, email];
    const sinks = { collector: collector.bytes() };
    expect(
      findSecrets(
        secrets.map((text) => secretOf(text, text)),
        sinks,
      ),
    ).toEqual([]);
    expect(findSecrets([secretOf("a control", "latchkey.v1.KeyService")], sinks)).not.toEqual([]);
  });

  it("serves and stops in time while its collector never answers", async () => {
    const keys = clientOf(unheard.address, KeyService, admin);
    await Promise.all(Array.from({ length: 300 }, () => keys.verifyKey({ apiKey: "kit_live_nokey" })));
    const before = performance.now();
    await unheard.stop();
    expect(performance.now() - before).toBeLessThan(MAX_STOP_MS);
    expect(await unheard.ended()).toBe(0);
  });
});

/** The example and its packages as an operator installs them: with a copy of the API of their own. */
async function operatorsFolder() {
  const folder = await mkdtempDisposable(join(tmpdir(), "latchkey-tracing-"));
  cpSync(join(ROOT, "examples/tracing.mjs"), join(folder.path, "tracing.mjs"));
  const packages = join("node_modules", "@opentelemetry");
  cpSync(join(ROOT, packages), join(folder.path, packages), { recursive: true });
  return folder;
}
