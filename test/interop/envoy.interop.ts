/** The service behind a real Envoy, on the example's own configuration. */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Orders } from "../../examples/gen/shop/v1/orders_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { Freshness_Source, KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf, PASSWORD } from "../support/clients.ts";
import { walkQuickstart } from "../support/quickstart.ts";
import { until } from "../support/until.ts";
import {
  ask,
  type EnvoyConfiguration,
  type RunningEnvoy,
  startEnvoy,
  startUpstreams,
  type Upstreams,
} from "./envoy.ts";
import { ENVOY } from "./envoy-process.ts";
import { type RunningService, startRunningService } from "./running-service.ts";
import { hasTools } from "./tools.ts";

type Fields = readonly (readonly [string, string])[];

const EXT_AUTHZ = "envoy.filters.http.ext_authz";
const MUTATION = "envoy.filters.http.header_mutation";
/** Identities that a client makes up, in the spellings that an upstream may take for ours. */
const FORGED: Fields = [
  ["X-Latchkey-Key-Id", "forged"],
  ["x-latchkey-user-id", "forged"],
  ["x-latchkey-scopes", "forged"],
  ["x-latchkey-invented", "forged"],
];
const UNDERSCORED: Fields = [
  ["x_latchkey_key_id", "forged"],
  ["X_Latchkey_User_Id", "forged"],
  ["x-latchkey_tier", "forged"],
];

describe.skipIf(!hasTools(ENVOY))("behind Envoy", () => {
  let service: RunningService;
  let anyone: { readonly id: string; readonly token: string };
  let upstreams: Upstreams;
  let envoy: RunningEnvoy;
  /** Without the parts of the example that keep forged headers out. */
  let bare: RunningEnvoy;
  const start = (change?: (configuration: EnvoyConfiguration) => void) =>
    startEnvoy({ latchkey: service.address, credential: service.verifier, upstreams, ...(change && { change }) });
  beforeAll(async () => {
    service = await startRunningService();
    anyone = await newPerson();
    upstreams = await startUpstreams();
    envoy = await start();
    bare = await start(({ manager, without }) => {
      manager.common_http_protocol_options = {};
      without(MUTATION);
    });
  });
  afterAll(async () => {
    await envoy?.[Symbol.asyncDispose]();
    await bare?.[Symbol.asyncDispose]();
    await upstreams?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
  });

  const management = () => clientOf(service.address, KeyService, service.admin);
  let people = 0;
  const newPerson = async () => {
    const registration = { email: `person-${++people}@example.com`, password: PASSWORD };
    const { user, tokens } = await clientOf(service.address, AuthService).register(registration);
    return { id: user!.id, token: tokens!.accessToken };
  };
  /** Issues a key of one person for all tests, or of another one. */
  async function newKey(more: Parameters<ReturnType<typeof management>["issueKey"]>[0] = {}, owner = anyone) {
    const { apiKey, key } = await clientOf(service.address, KeyService, owner.token).issueKey({
      name: "a key",
      ...more,
    });
    // On a busy machine the read of a new key may take too long, which is no verdict.
    const isKept = () =>
      clientOf(service.address, KeyService, service.verifier)
        .verifyKey({ apiKey, cost: 0 })
        .then(
          ({ freshness }) => freshness?.source === Freshness_Source.CACHE,
          () => false,
        );
    await until(isKept, "the key is in memory");
    return { apiKey, key, ownerId: owner.id };
  }
  const withKey = (apiKey: string): Fields => [["X-API-Key", apiKey]];
  /** Values of the headers that begin as an identity does, as the upstream saw them. */
  const identities = (body: unknown) =>
    Object.entries(body as Record<string, string>).filter(([name]) => /^x[-_]latchkey/.test(name));

  it("is what docs/quickstarts/envoy.md leads a reader to", async () => {
    expect(await walkQuickstart("envoy.md", service)).toEqual([]);
  });

  it("serves a good key from either header, and the upstream learns whose request it is but not the key", async () => {
    const { apiKey, key, ownerId } = await newKey({ scopes: ["orders:read"] });
    for (const fields of [withKey(apiKey), [["Authorization", `Bearer ${apiKey}`]]] as Fields[]) {
      const { status, headers, body } = await ask(envoy, "/orders?page=2", fields);
      expect(status).toBe(200);
      expect(Object.fromEntries(identities(body))).toEqual({
        "x-latchkey-key-id": key!.id,
        "x-latchkey-owner-id": ownerId,
        "x-latchkey-tier": "basic",
        "x-latchkey-scopes": "orders:read",
        "x-latchkey-environment": "live",
      });
      expect(JSON.stringify(body)).not.toContain(apiKey.slice(-20));
      expect(headers["ratelimit-policy"]).toBe('"minute";q=20;w=60, "day";q=1000;w=86400, "orders/minute";q=100;w=60');
      // The upstream says something else in this field.
      expect(headers["x-ratelimit-limit"]).toBe("20");
    }
  });

  it("serves a person on a route for people alone", async () => {
    const { apiKey } = await newKey();
    const bearer = (value: string): Fields => [["authorization", `Bearer ${value}`]];
    const { body } = await ask(envoy, "/me", [...bearer(anyone.token), ...FORGED]);
    expect(identities(body)).toEqual([["x-latchkey-user-id", anyone.id]]);
    expect(body).not.toHaveProperty("authorization");
    expect(await ask(envoy, "/me", bearer(apiKey))).toMatchObject({ status: 401, body: { code: "TOKEN_INVALID" } });
    expect(await ask(envoy, "/anything", bearer(anyone.token))).toMatchObject({
      status: 401,
      body: { code: "INVALID" },
    });
  });

  it("refuses each request that is not good, and no such request reaches the upstream", async () => {
    const admin = clientOf(service.address, AdminService, service.admin);
    const keys = management();
    const [disabled, revoked, orphan] = [await newKey(), await newKey(), await newKey({}, await newPerson())];
    const elsewhere = await newKey({ allowedIps: ["192.0.2.0/24"] });
    const otherMethod = await newKey({ allowedMethods: ["POST /**"] });
    await keys.disableKey({ keyId: disabled.key!.id });
    await keys.revokeKey({ keyId: revoked.key!.id });
    await admin.disableUser({ userId: orphan.ownerId });
    const { apiKey } = await newKey();
    const served = upstreams.served();
    const cases: readonly (readonly [Fields, number, string, string?])[] = [
      [[], 401, "CREDENTIAL_MISSING"],
      [withKey("invented"), 401, "INVALID"],
      [[...withKey(apiKey), ...withKey(apiKey)], 401, "CREDENTIAL_AMBIGUOUS"],
      [withKey(`${apiKey},${apiKey}`), 401, "CREDENTIAL_AMBIGUOUS"],
      [[...withKey(apiKey), ["authorization", "Bearer another"]], 401, "CREDENTIAL_AMBIGUOUS"],
      [withKey(disabled.apiKey), 401, "DISABLED"],
      [withKey(revoked.apiKey), 401, "REVOKED"],
      [withKey(orphan.apiKey), 403, "OWNER_DISABLED"],
      [withKey(elsewhere.apiKey), 403, "IP_NOT_ALLOWED"],
      [[...withKey(elsewhere.apiKey), ["x-forwarded-for", "192.0.2.1"]], 403, "IP_NOT_ALLOWED"],
      [withKey(otherMethod.apiKey), 403, "METHOD_NOT_ALLOWED"],
      [withKey(apiKey), 403, "SCOPE_MISSING", "/orders"],
    ];
    for (const [fields, status, code, path = "/anything"] of cases) {
      const answer = await ask(envoy, path, fields);
      expect(answer, code).toMatchObject({ status, body: { type: "about:blank", status, code } });
      expect(answer.headers).toMatchObject({ "content-type": "application/problem+json", "cache-control": "no-store" });
    }
    expect(upstreams.served()).toBe(served);
  });

  it("says 429 with the wait when a limit is reached", async () => {
    const { apiKey } = await newKey();
    const answers = [];
    for (let at = 0; at < 21; at++) answers.push(await ask(envoy, "/anything", withKey(apiKey)));
    expect(answers.map(({ status }) => status)).toEqual([...Array(20).fill(200), 429]);
    const { headers, body } = answers.at(-1)!;
    expect(body).toMatchObject({ code: "RATE_LIMITED" });
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    expect(headers.ratelimit).toContain('"minute";r=0;');
  });

  it("gives a gRPC client its own status, over a service that never sees the key", async () => {
    const { apiKey, key } = await newKey();
    const { key: grpcKey, apiKey: narrow } = await newKey({ allowedMethods: ["/shop.v1.Orders/ListOrders"] });
    const orders = createClient(Orders, createGrpcTransport({ baseUrl: envoy.url }));
    const seenBy = async (headers: Record<string, string>) => {
      const seen: string[] = [];
      await orders.listOrders({}, { headers, onHeader: (got) => void seen.push(got.get("x-seen")!) });
      return JSON.parse(seen[0]!) as Record<string, string>;
    };
    expect(await seenBy({ "x-api-key": apiKey })).toMatchObject({ "x-latchkey-key-id": key!.id });
    expect(await seenBy({ "x-api-key": narrow })).toMatchObject({ "x-latchkey-key-id": grpcKey!.id });
    expect(await seenBy({ authorization: `Bearer ${apiKey}` })).not.toHaveProperty("authorization");
    const refusal = (headers: Record<string, string>) =>
      orders.listOrders({}, { headers }).then(
        () => undefined,
        (error: unknown) => ConnectError.from(error),
      );
    expect((await refusal({}))?.code).toBe(Code.Unauthenticated);
    for (let at = 0; at < 18; at++) expect(await refusal({ "x-api-key": apiKey })).toBeUndefined();
    const limited = (await refusal({ "x-api-key": apiKey }))!;
    expect([limited.code, limited.rawMessage]).toEqual([Code.ResourceExhausted, "A rate limit is reached."]);
    expect(Number(limited.metadata.get("retry-after"))).toBeGreaterThan(0);
  });

  describe("forged identities", () => {
    it("never reach the upstream of the example, whatever the route", async () => {
      const { apiKey, key } = await newKey();
      const { body } = await ask(envoy, "/anything", [...withKey(apiKey), ...FORGED]);
      expect(JSON.stringify(body)).not.toContain("forged");
      expect(body).toMatchObject({ "x-latchkey-key-id": key!.id });
      const open = await ask(envoy, "/public", FORGED);
      expect([open.status, identities(open.body)]).toEqual([200, []]);
      for (const underscored of UNDERSCORED) {
        expect((await ask(envoy, "/anything", [...withKey(apiKey), underscored])).status).toBe(400);
        expect((await ask(envoy, "/public", [underscored])).status).toBe(400);
      }
    });

    it("are removed by latchkey's answer alone, in every spelling", async () => {
      const { apiKey, key, ownerId } = await newKey();
      const fields: Fields = [...FORGED, ...withKey(apiKey), ...UNDERSCORED, ["x_api_key", "forged"]];
      const { status, body } = await ask(bare, "/anything", fields);
      expect(status).toBe(200);
      expect(Object.fromEntries(identities(body))).toEqual({
        "x-latchkey-key-id": key!.id,
        "x-latchkey-owner-id": ownerId,
        "x-latchkey-tier": "basic",
        "x-latchkey-environment": "live",
      });
      expect(JSON.stringify(body)).not.toContain("forged");
    });

    it("do reach it without the example's filters where no check runs: the example needs them", async () => {
      const { body } = await ask(bare, "/public", [...FORGED, ...UNDERSCORED]);
      expect(identities(body)).toHaveLength(FORGED.length + UNDERSCORED.length);
    });
  });

  it("answers 1,000 requests at 50 connections without an error", async () => {
    const { raw: apiKey } = (await service.issue(1))[0]!;
    const served = upstreams.served();
    const statuses = new Map<number, number>();
    const caller = async () => {
      for (let at = 0; at < 20; at++) {
        const { status } = await fetch(`${envoy.url}/anything`, { headers: { "x-api-key": apiKey } });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 50 }, caller));
    expect([...statuses]).toEqual([[200, 1000]]);
    expect(upstreams.served() - served).toBe(1000);
  });

  it("never lets a request through that is made to break the check, where Envoy opens without a verdict", async () => {
    await using open = await start(({ filter }) => {
      filter(EXT_AUTHZ).failure_mode_allow = true;
      filter(EXT_AUTHZ).encode_raw_headers = false;
    });
    const { apiKey } = await newKey();
    expect((await ask(open, "/anything", withKey(apiKey))).status).toBe(200);
    const served = upstreams.served();
    const filler = Array.from({ length: 85 }, (_, at) => `x-filler-${at}: ${"y".repeat(650)}\r\n`).join("");
    for (const request of [
      "GET /\xff\xfe HTTP/1.1\r\nhost: shop.example\r\n\r\n",
      "GET /%ff%fe HTTP/1.1\r\nhost: shop.example\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: shop.example\r\nx-any: \xff\xfe\r\nx-api-key: \xff\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: sh\xffp.example\r\n\r\n",
      `GET /${"x".repeat(58_000)} HTTP/1.1\r\nhost: shop.example\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: shop.example\r\n${filler}\r\n`,
      `GET / HTTP/1.1\r\nhost: shop.example\r\n${"a: b\r\n".repeat(95)}\r\n`,
    ]) {
      const answer = await sendRaw(open, request);
      expect(answer, request.slice(0, 60)).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
    expect(upstreams.served()).toBe(served);
  });
});

/** Sends the bytes of a request. @returns the whole answer */
async function sendRaw({ port }: RunningEnvoy, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(Buffer.from(request.replace("\r\n", "\r\nconnection: close\r\n"), "latin1"));
  return text(socket);
}
