/** Envoy's rate limit filter with the service, on the example's own configuration. */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Orders } from "../../examples/gen/shop/v1/orders_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf } from "../support/clients.ts";
import {
  ask,
  type EnvoyAnswer,
  type EnvoyConfiguration,
  type RunningEnvoy,
  startEnvoy,
  startUpstreams,
  type Upstreams,
} from "./envoy.ts";
import { ENVOY } from "./envoy-process.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

const FILE = join(import.meta.dirname, "../../examples/envoy/rate-limits.json");

describe.skipIf(!hasTools(ENVOY))("Envoy's rate limit filter", () => {
  let service: RunningService;
  let upstreams: Upstreams;
  /** The example. */
  let envoy: RunningEnvoy;
  /** The example with routes of the test, and `failure_mode_deny: false`. */
  let open: RunningEnvoy;
  beforeAll(async () => {
    service = await startRunningService({ LATCHKEY_RATE_LIMITS_FILE: FILE });
    upstreams = await startUpstreams();
    const options = { latchkey: service.address, credential: service.verifier, upstreams };
    envoy = await startEnvoy(options);
    open = await startEnvoy({ ...options, change: opened });
  });
  afterAll(async () => {
    for (const each of [envoy, open, upstreams, service]) await each?.[Symbol.asyncDispose]();
  });

  const verifier = () => clientOf(service.address, KeyService, service.verifier);
  /** A new key with the limit of 20 a minute. */
  const newKey = async () => (await service.issue(1, 20))[0]!;
  const statuses = (answers: readonly EnvoyAnswer[]) => answers.map(({ status }) => status);
  async function askTimes(times: number, ...request: Parameters<typeof ask>): Promise<readonly EnvoyAnswer[]> {
    const answers = [];
    for (let at = 0; at < times; at++) answers.push(await ask(...request));
    return answers;
  }

  it("limits an address by the file: 429 with the headers of Envoy and of the service", async () => {
    const served = upstreams.served();
    const answers: EnvoyAnswer[] = [];
    for (let at = 1; at <= 6; at++) {
      // No client chooses the address under which it is counted.
      answers.push(await ask(envoy, "/login", [["x-forwarded-for", `198.51.100.${at}`]], "POST"));
    }
    expect(statuses(answers)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(upstreams.served() - served).toBe(5);
    expect(answers[0]!.headers).toMatchObject({ "x-ratelimit-remaining": "4" });
    const { headers, body } = answers.at(-1)!;
    expect(body).toEqual({ type: "about:blank", title: "A rate limit is reached.", status: 429, code: "RATE_LIMITED" });
    expect(headers).toMatchObject({
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-ratelimit-limit": "5, 5;w=60",
      "x-ratelimit-remaining": "0",
    });
    for (const name of ["retry-after", "x-ratelimit-reset"]) {
      expect(Number(headers[name]), name).toBeGreaterThan(50);
      expect(Number(headers[name]), name).toBeLessThanOrEqual(61);
    }
    // A refused request counts nothing: with 5 of 50 used, the day has room for 45.
    const name = "shop/path=%2Flogin/remote_address=127.0.0.1";
    const limits = [{ name: "envoy", perMinute: 5, perDay: 50 }];
    const look = await verifier().checkRateLimit({ subject: { case: "name", value: name }, limits, cost: 0 });
    expect(look.rateLimits.map(({ remaining }) => remaining)).toEqual([0, 45]);
  });

  it("limits a key by its own limits, with the hits of the route", async () => {
    const { raw: apiKey, id } = await newKey();
    const answers = await askTimes(5, envoy, "/reports", [["x-api-key", apiKey]]);
    expect(statuses(answers), "20 calls a minute, and 5 for each").toEqual([200, 200, 200, 200, 429]);
    expect(answers[0]!.body).toMatchObject({ "x-latchkey-key-id": id });
    expect((await verifier().verifyKey({ apiKey })).valid, "VerifyKey counts in the same windows").toBe(false);
    const forged = [["x-latchkey-key-id", "key_AAAAAAAAAAAAAAAA"] as const];
    const other = await newKey();
    const { body } = await ask(envoy, "/reports", [["x-api-key", other.raw], ...forged]);
    expect(body, "the id is the check's").toMatchObject({ "x-latchkey-key-id": other.id });
  });

  it("limits by the figures that a route brings, and all or nothing", async () => {
    expect(statuses(await askTimes(3, open, "/two"))).toEqual([200, 200, 429]);
    // This route has that limit, which is used up, and one of 3 for itself.
    expect(statuses(await askTimes(4, open, "/both"))).toEqual([429, 429, 429, 429]);
    expect(statuses(await askTimes(4, open, "/three"))).toEqual([200, 200, 200, 429]);
  });

  it("lets no value without limits through, also if it is no UTF-8 or longer than a name", async () => {
    for (const value of ["plain", "\xff\xfe", "\xc3\xa9", "a/b={c}", "x".repeat(5_000)]) {
      const request = `GET /value HTTP/1.1\r\nhost: shop.example\r\nx-value: ${value}\r\n\r\n`;
      const answers = [await sendRaw(open, request), await sendRaw(open, request), await sendRaw(open, request)];
      const codes = answers.map((answer) => answer.slice(9, 12));
      expect(codes, value.slice(0, 20)).toEqual(["200", "200", "429"]);
    }
  });

  it("answers a gRPC client with RESOURCE_EXHAUSTED", async () => {
    const orders = createClient(Orders, createGrpcTransport({ baseUrl: open.url }));
    await orders.listOrders({});
    await orders.listOrders({});
    const error = await orders.listOrders({}).then(
      () => undefined,
      (reason: unknown) => ConnectError.from(reason),
    );
    expect(error?.code).toBe(Code.ResourceExhausted);
    expect(Number(error?.metadata.get("retry-after"))).toBeGreaterThan(0);
  });

  it("refuses a request of a service without the scope, which the failure mode decides about", async () => {
    const admin = clientOf(service.address, AdminService, service.admin);
    const { secret } = await admin.issueServiceCredential({ name: "manager", scopes: ["manage"] });
    await using closed = await startEnvoy({ latchkey: service.address, credential: secret, upstreams });
    expect((await ask(closed, "/login")).status).toBe(503);
  });

  // The last one: the service does not come back.
  it("refuses with 503 while the service is dead, and lets requests through without failure_mode_deny", async () => {
    const served = upstreams.served();
    await service[Symbol.asyncDispose]();
    expect((await ask(envoy, "/login")).status).toBe(503);
    expect((await ask(envoy, "/public")).status, "a route without limits").toBe(200);
    expect((await ask(open, "/three")).status).toBe(200);
    expect(upstreams.served() - served).toBe(2);
  });
});

/** The example with routes whose limits are in the configuration. Their requests are not checked. */
function opened({ manager, filter }: EnvoyConfiguration): void {
  Object.assign(filter("envoy.filters.http.ratelimit"), { failure_mode_deny: false });
  const filters = manager.http_filters as object[];
  const type = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config";
  const limit = (requests_per_unit: number) => ({ requests_per_unit, unit: "MINUTE" });
  const value = { two: limit(2), three: limit(3) };
  filters.unshift({
    name: "envoy.filters.http.set_metadata",
    typed_config: { "@type": type, metadata: [{ metadata_namespace: "test.limits", value }] },
  });
  const limited = (figure: keyof typeof value, action: object) => ({
    actions: [action],
    limit: { dynamic_metadata: { metadata_key: { key: "test.limits", path: [{ key: figure }] } } },
  });
  const named = (name: string) => ({ generic_key: { descriptor_key: "name", descriptor_value: name } });
  const byValue = { request_headers: { header_name: "x-value", descriptor_key: "name" } };
  const routes = routesOf(manager);
  const { typed_per_filter_config } = routes.find(({ match }) => match.prefix === "/public")!;
  const add = (match: Route["match"], cluster: string, ...rate_limits: object[]) =>
    routes.unshift({ match, route: { cluster, rate_limits }, typed_per_filter_config });
  add({ prefix: "/two" }, "shop", limited("two", named("two")));
  add({ prefix: "/three" }, "shop", limited("three", named("three")));
  add({ prefix: "/both" }, "shop", limited("three", named("three")), limited("two", named("two")));
  add({ prefix: "/value" }, "shop", limited("two", byValue));
  add({ prefix: "/", grpc: {} }, "shop_grpc", limited("two", named("grpc")));
}

interface Route {
  readonly match: Readonly<Record<string, unknown>>;
  readonly route: unknown;
  readonly typed_per_filter_config: unknown;
}

function routesOf(manager: Record<string, unknown>): Route[] {
  const { virtual_hosts } = manager.route_config as { virtual_hosts: [{ routes: Route[] }] };
  return virtual_hosts[0].routes;
}

/** Sends the bytes of a request. @returns the whole answer */
async function sendRaw({ port }: RunningEnvoy, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(Buffer.from(request.replace("\r\n", "\r\nconnection: close\r\n"), "latin1"));
  return text(socket);
}
