import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { context, propagation, SpanStatusCode, trace } from "@opentelemetry/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLatchkey } from "../../client/src/latchkey.ts";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { RateLimitService } from "../../src/gen/envoy/service/ratelimit/v3/rls_pb.ts";
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
  async function serverSpan(trace: Pick<ClientTrace, "traceId">) {
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

    it("continue the trace of a program that asks by the client's package", async () => {
      const { apiKey } = await service.newKey();
      const interceptor: Interceptor = (next) => (request) => {
        propagation.inject(context.active(), request.header, { set: (header, name, value) => header.set(name, value) });
        return next(request);
      };
      const transport = createGrpcTransport({ baseUrl: `http://${service.address}`, interceptors: [interceptor] });
      await using latchkey = createLatchkey({ transport, credential: verifier });
      const [traceId, spanId] = await trace.getTracer("shop").startActiveSpan("order", async (span) => {
        expect((await latchkey.verify({ apiKey })).valid).toBe(true);
        span.end();
        return [span.spanContext().traceId, span.spanContext().spanId] as const;
      });
      const span = await serverSpan({ traceId });
      expect([span.name, span.parentSpanContext?.spanId]).toEqual(["latchkey.v1.KeyService/VerifyKey", spanId]);
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
      using client = restClient("HTTP/1.1", service.address);
      const ask = (headers: Record<string, string>) =>
        client.ask("GET", "/v1/keys/key_0000000000000000", { headers: { ...headers, "x-request-id": "mine" } });
      await ask(headersOf(missing));
      await ask({ ...headersOf(late), "grpc-timeout": "1n" });
      const [refused, failed] = [await serverSpan(missing), await serverSpan(late)];
      expect(refused.status.code).toBe(SpanStatusCode.UNSET);
      expect(refused.attributes).toMatchObject({
        "rpc.response.status_code": "NOT_FOUND",
        "error.type": "NOT_FOUND",
        "latchkey.reason": "KEY_NOT_FOUND",
      });
      expect(failed.status).toEqual({ code: SpanStatusCode.ERROR });
      expect(failed.attributes).toMatchObject({ "latchkey.reason": "DEADLINE_EXCEEDED" });
    });
  });

  describe("of SQL and Redis", () => {
    it("are children of the call that needs them, and a cached record needs no SQL", async () => {
      const { apiKey } = await service.newKey();
      const [cold, warm] = [newTrace(), newTrace()];
      const keys = createClient(KeyService, grpc());
      await keys.verifyKey({ apiKey }, { headers: headersOf(cold) });
      await keys.verifyKey({ apiKey }, { headers: headersOf(warm) });
      const server = await serverSpan(cold);
      await serverSpan(warm);
      expect(spans.childrenOf(cold)).toEqual(["SELECT api_keys", "EVALSHA"]);
      expect(spans.childrenOf(warm)).toEqual(["EVALSHA"]);
      const [sql, redis] = spans.of(cold);
      expect([sql, redis].map((span) => span?.parentSpanContext?.spanId)).toEqual(
        Array(2).fill(server.spanContext().spanId),
      );
      expect(sql!.attributes).toEqual({
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.collection.name": "api_keys",
      });
      expect(redis!.attributes).toEqual({ "db.system.name": "redis", "db.operation.name": "EVALSHA" });
    });

    it("are none for a verdict that needs neither", async () => {
      const trace = newTrace();
      const keys = createClient(KeyService, grpc());
      await keys.verifyKey({ apiKey: "kit_live_nokey" }, { headers: headersOf(trace) });
      await serverSpan(trace);
      expect(spans.childrenOf(trace)).toEqual([]);
    });

    it("are each below their own call when eight calls wait for the same locks and connections", async () => {
      const person = await service.newPerson();
      const keys = createClient(KeyService, grpc());
      const traces = Array.from({ length: 8 }, () => newTrace());
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
      // What several calls share is below the first one. The transaction is each call's own.
      const own = children.map((names) => names.slice(names.indexOf("SELECT api_keys")));
      expect(new Set(own).size).toBe(1);
      expect(own[0]).toMatch(/^SELECT api_keys,.*INSERT api_keys,.*COMMIT$/);
    });
  });

  it("have no secret, and no text of a client, in any span", async () => {
    const texts = ["canary-display-name", "canary-key-name", "canary-user-agent", "canary-query", PASSWORD];
    const email = "canary-person@example.com";
    const auth = createClient(AuthService, grpc());
    const headers = { ...newTrace().headers, "user-agent": "canary-user-agent", baggage: "user=canary-baggage" };
    const input = { email, password: PASSWORD, displayName: "canary-display-name" };
    const { tokens } = await auth.register(input, { headers });
    await errorOf(auth.login({ email, password: "canary-wrong-password" }, { headers }));
    await auth.login({ email, password: PASSWORD }, { headers });
    const { accessToken, refreshToken } = (await auth.refresh({ refreshToken: tokens!.refreshToken }, { headers }))
      .tokens!;
    const keys = createClient(KeyService, grpc());
    const authorized = { headers: { ...headers, authorization: `Bearer ${accessToken}` } };
    const { apiKey, key } = await keys.issueKey(
      { name: "canary-key-name", metadata: { note: "canary-note" } },
      authorized,
    );
    await keys.verifyKey({ apiKey, method: "canary-method" }, { headers: headersOf(newTrace()) });
    using client = restClient("HTTP/1.1", service.address);
    await client.ask("GET", `/v1/keys/${key!.id}?x=canary-query`, authorized);
    const trace = newTrace();
    await auth.logout({ refreshToken }, { headers: trace.headers });
    await serverSpan(trace);

    const written = spans
      .all()
      .map(({ name, attributes, status, events, links }) => [name, attributes, status, events, links]);
    const secrets = [accessToken, refreshToken, apiKey, verifier, email, ...texts, "canary"];
    const sinks = { spans: Buffer.from(JSON.stringify(written)) };
    expect(
      findSecrets(
        secrets.map((text) => secretOf(text, text)),
        sinks,
      ),
    ).toEqual([]);
    expect(findSecrets([secretOf("a control", "latchkey.v1.KeyService/IssueKey")], sinks)).not.toEqual([]);
  });

  describe("in the log", () => {
    const lineOf = (requestId: string | undefined) =>
      service.lines.find(({ fields }) => requestId !== undefined && fields.request_id === requestId)?.fields;

    it.each(Object.keys(transports))("a line has the id that its answer has, good or bad, by %s", async (lane) => {
      const [good, bad] = [newTrace(), newTrace()];
      const answered: Headers[] = [];
      const keys = createClient(KeyService, transports[lane]!());
      const onHeader = (header: Headers) => void answered.push(header);
      await keys.listKeys({}, { headers: headersOf(good, service.admin), onHeader });
      const error = await keys.getKey({ keyId: "key_none" }, { headers: headersOf(bad) }).catch((cause) => cause);
      expect(lineOf(answered[0]!.get("x-request-id") ?? undefined)).toMatchObject({
        code: "OK",
        trace_id: good.traceId,
      });
      expect(lineOf(error.metadata.get("x-request-id") ?? undefined)).toMatchObject({ trace_id: bad.traceId });
    });

    it("a client that no one knows learns the id too, and can't choose it", async () => {
      for (const [lane, transport] of Object.entries(transports)) {
        const keys = createClient(KeyService, transport());
        const headers = { authorization: "Bearer nothing", "x-request-id": "req_chosen" };
        const error = await keys.verifyKey({}, { headers }).catch((cause) => cause);
        const requestId = error.metadata.get("x-request-id");
        expect(requestId, lane).toMatch(/^req_[0-9A-Za-z]{16}$/);
        expect(lineOf(requestId)).toMatchObject({ code: "UNAUTHENTICATED" });
      }
      using client = restClient("HTTP/2", service.address);
      const { headers } = await client.ask("GET", "/v1/keys/key_none");
      expect(lineOf(headers["x-request-id"])).toMatchObject({ code: "UNAUTHENTICATED" });
      const url = `http://${service.address}/latchkey.v1.KeyService/VerifyKey`;
      const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
      expect(lineOf(answer.headers.get("x-request-id") ?? undefined)).toMatchObject({ code: "UNAUTHENTICATED" });
    });

    it("a good verification has no line, and so no id", async () => {
      const keys = createClient(KeyService, grpc());
      const answered: Headers[] = [];
      const onHeader = (header: Headers) => void answered.push(header);
      await keys.verifyKey({ apiKey: "kit_live_nokey" }, { headers: headersOf(newTrace()), onHeader });
      expect(answered.map((header) => header.has("x-request-id"))).toEqual([false]);
    });

    it("a line has the trace that the client did not sample, and no span is made", async () => {
      const trace = newTrace(false);
      const keys = createClient(KeyService, grpc());
      await errorOf(keys.getKey({ keyId: "key_none" }, { headers: headersOf(trace) }));
      expect(service.lines.filter(({ fields }) => fields.trace_id === trace.traceId)).toHaveLength(1);
      expect(spans.of(trace)).toEqual([]);
    });
  });

  // Last, because it removes the SDK.
  it("are none without an SDK, and a line still has the client's trace", async () => {
    spans[Symbol.dispose]();
    expect(openServerSpans("1")).toBeUndefined();
    await service.restart();
    const trace = newTrace();
    const keys = createClient(KeyService, grpc());
    await errorOf(keys.getKey({ keyId: "key_none" }, { headers: headersOf(trace) }));
    expect(service.lines.filter(({ fields }) => fields.trace_id === trace.traceId)).toHaveLength(1);
    expect(spans.of(trace)).toEqual([]);
  });
});
