import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { SpanStatusCode } from "@opentelemetry/api";
import { AlwaysOffSampler } from "@opentelemetry/sdk-trace";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { openServerSpans } from "../../src/lib/tracing.ts";
import { PASSWORD } from "../support/clients.ts";
import { errorOf } from "../support/errors.ts";
import { checkOf } from "../support/ext-authz.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { type ClientTrace, newTrace, type RecordedSpans, recordSpans } from "../support/recorded-spans.ts";
import { restClient } from "../support/rest-request.ts";
import { findSecrets, secretOf } from "../support/secret-scan.ts";
import { canStart, freshRedis } from "../support/shared-servers.ts";
import { eventually } from "../support/until.ts";

const REST_ROUTE = "GET /v1/keys/{key_id}";

describe.skipIf(!canStart("redis"))("traces", () => {
  let spans: RecordedSpans;
  let service: TestService;
  let verifier: string;
  beforeAll(async () => {
    spans = recordSpans();
    service = await startTestService({ REDIS_URL: await freshRedis() });
    verifier = await service.newCredential("verify", "manage");
  });
  afterAll(async () => {
    spans?.[Symbol.dispose]();
    await service?.[Symbol.asyncDispose]();
  });

  const headersOf = (trace: ClientTrace, credential = verifier) => ({
    ...trace.headers,
    authorization: `Bearer ${credential}`,
  });
  const grpc = (): Transport => createGrpcTransport({ baseUrl: `http://${service.address}` });
  const web = { baseUrl: "", httpVersion: "1.1" } as const;
  const transports: Record<string, () => Transport> = {
    "unary gRPC": grpc,
    "gRPC-Web": () => createGrpcWebTransport({ ...web, baseUrl: `http://${service.address}` }),
    Connect: () => createConnectTransport({ ...web, baseUrl: `http://${service.address}` }),
  };
  /** The only SERVER span of a trace, once it has ended. */
  async function serverSpan(trace: ClientTrace) {
    await eventually(() => expect(spans.serversOf(trace)).toHaveLength(1));
    return spans.serversOf(trace)[0]!;
  }

  describe("of one call", () => {
    it.each(Object.keys(transports))("have one SERVER span below the client's by %s", async (lane) => {
      const trace = newTrace();
      const keys = createClient(KeyService, transports[lane]!());
      await keys.verifyKey({ apiKey: "kit_live_nokey" }, { headers: headersOf(trace) });
      const span = await serverSpan(trace);
      expect(span).toMatchObject({
        name: "latchkey.v1.KeyService/VerifyKey",
        parentSpanContext: { spanId: trace.spanId, isRemote: true },
        attributes: {
          "rpc.system.name": lane === "Connect" ? "connectrpc" : "grpc",
          "rpc.method": "latchkey.v1.KeyService/VerifyKey",
          "rpc.response.status_code": "OK",
        },
        status: { code: SpanStatusCode.UNSET },
      });
      expect(span.spanContext().traceState?.serialize()).toBe("shop=1");
    });

    it("have the template of the path by REST, and neither its ids nor its query", async () => {
      const { key } = await service.newKey();
      const trace = newTrace();
      using client = restClient("HTTP/1.1", service.address);
      await client.ask("GET", `/v1/keys/${key!.id}`, { headers: headersOf(trace, service.admin) });
      const span = await serverSpan(trace);
      expect(span.name).toBe(REST_ROUTE);
      expect(span.attributes).toEqual({
        "http.request.method": "GET",
        "http.route": "/v1/keys/{key_id}",
        "rpc.method": "latchkey.v1.KeyService/GetKey",
        "rpc.response.status_code": "OK",
      });
      expect(JSON.stringify(span.attributes)).not.toContain(key!.id);
    });

    it("have one span for a whole stream", async () => {
      const trace = newTrace();
      const end = new AbortController();
      const keys = createClient(KeyService, grpc());
      const stream = keys.watchRevocations({}, { headers: headersOf(trace), signal: end.signal });
      for await (const _ of stream) break;
      end.abort();
      const span = await serverSpan(trace);
      expect(span.name).toBe("latchkey.v1.KeyService/WatchRevocations");
      expect(span.parentSpanContext?.spanId).toBe(trace.spanId);
    });

    it("have the trace of Envoy's own call for its checks and its limits", async () => {
      const [check, limit] = [newTrace(), newTrace()];
      const envoy = createClient(Authorization, grpc());
      await envoy.check(checkOf({ headers: [["x-api-key", "kit_live_nokey"]] }), { headers: headersOf(check) });
      const limits = createClient(RateLimitService, grpc());
      await limits.shouldRateLimit({ domain: "shop" }, { headers: headersOf(limit) }).catch(() => {});
      expect((await serverSpan(check)).name).toBe("envoy.service.auth.v3.Authorization/Check");
      expect((await serverSpan(limit)).name).toBe("envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    });

    it("begin a trace of the service's own if the client's is malformed, and the call goes on", async () => {
      const keys = createClient(KeyService, grpc());
      const before = spans.all().length;
      const headers = { ...headersOf(newTrace()), traceparent: `00-${"f".repeat(3000)}-01` };
      await keys.verifyKey({ apiKey: "kit_live_nokey" }, { headers });
      await eventually(() => expect(spans.all().length).toBeGreaterThan(before));
      expect(spans.all().at(-1)!.parentSpanContext).toBeUndefined();
    });

    it("have code and reason of a failure, and count as failed only if the service is at fault", async () => {
      const [missing, late] = [newTrace(), newTrace()];
      const keys = createClient(KeyService, grpc());
      await errorOf(keys.getKey({ keyId: "key_0000000000000000" }, { headers: headersOf(missing) }));
      await errorOf(createClient(AuthService, grpc()).login({}, { headers: late.headers, timeoutMs: 0.001 }));
      const span = await serverSpan(missing);
      expect(span.status.code).toBe(SpanStatusCode.UNSET);
      expect(span.attributes).toMatchObject({
        "rpc.response.status_code": "NOT_FOUND",
        "error.type": "NOT_FOUND",
        "latchkey.reason": "KEY_NOT_FOUND",
      });
    });
  });

  describe("of SQL and Redis", () => {
    it("are children of the call that needs them, and a cached verdict has none", async () => {
      const { apiKey } = await service.newKey({ limits: { perMinute: 60, perDay: 50 } });
      const admin = createClient(AdminService, grpc());
      await admin
        .resetRateLimits({ keyId: "key_0000000000000000" }, { headers: headersOf(newTrace()) })
        .catch(() => {});
      const [cold, warm] = [newTrace(), newTrace()];
      const keys = createClient(KeyService, grpc());
      await keys.verifyKey({ apiKey }, { headers: headersOf(cold) });
      await keys.verifyKey({ apiKey }, { headers: headersOf(warm) });
      const server = await serverSpan(cold);
      await serverSpan(warm);
      expect(spans.childrenOf(cold)).toEqual(["SELECT api_keys", expect.stringMatching(/^EVAL/)].slice(0, 2));
      expect(spans.childrenOf(warm)).toEqual(["EVALSHA"]);
      for (const span of spans.of(cold)) {
        if (span !== server) expect(span.parentSpanContext?.spanId).toBe(server.spanContext().spanId);
      }
    });

    it("are none for a verdict that needs neither", async () => {
      const trace = newTrace();
      const keys = createClient(KeyService, grpc());
      await keys.verifyKey({ apiKey: "kit_live_nokey" }, { headers: headersOf(trace) });
      await serverSpan(trace);
      expect(spans.childrenOf(trace)).toEqual([]);
    });

    it("are each below their own call when twenty calls wait for the same locks and connections", async () => {
      const person = await service.newPerson();
      const keys = createClient(KeyService, grpc());
      const traces = Array.from({ length: 20 }, () => newTrace());
      await Promise.all(
        traces.map((trace) =>
          keys.issueKey({ name: "a key" }, { headers: headersOf(trace, person.tokens.accessToken) }),
        ),
      );
      const children = await Promise.all(
        traces.map(async (trace) => {
          await serverSpan(trace);
          return spans.childrenOf(trace).join();
        }),
      );
      expect(new Set(children).size).toBe(1);
      expect(children[0]).toMatch(/INSERT api_keys.*COMMIT$/);
    });
  });
});
