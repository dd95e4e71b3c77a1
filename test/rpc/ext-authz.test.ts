import { type Client, Code } from "@connectrpc/connect";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Authorization } from "../../src/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { type AskedRequest, checkOf, doneBy, forwarded } from "../support/ext-authz.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

type Headers = NonNullable<AskedRequest["headers"]>;

describe("Envoy's Check", () => {
  let service: TestService;
  let envoy: Client<typeof Authorization>;
  let admin: Client<typeof AdminService>;
  let keys: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    envoy = service.client(Authorization, await service.newCredential("verify"));
    admin = service.client(AdminService, service.admin);
    keys = service.client(KeyService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const check = async (asked: AskedRequest) => doneBy(await envoy.check(checkOf(asked)));
  const withKey = (apiKey: string): Headers => [["x-api-key", apiKey]];
  /** A key with these scopes, whose owner may have any. */
  async function newKey(more: Parameters<TestService["newKey"]>[0] = {}) {
    const person = await service.newPerson();
    await admin.updateUser({ user: { id: person.user.id, tier: "enterprise", scopes: ["*"] } });
    const { apiKey, key } = await keys.issueKey({ name: "a key", ownerId: person.user.id, ...more });
    return { apiKey, keyId: key!.id, ownerId: person.user.id };
  }

  describe("of a good key", () => {
    it("tells the upstream and the next filters who it is, and hides the key", async () => {
      const { apiKey, keyId, ownerId } = await newKey({ scopes: ["orders:read", "orders:write"], tier: "pro" });
      const facts = {
        key_id: keyId,
        owner_id: ownerId,
        tier: "pro",
        scopes: "orders:read orders:write",
        environment: "live",
      };
      for (const raw of [false, true]) {
        for (const headers of [withKey(apiKey), [["authorization", `Bearer ${apiKey}`]]] as Headers[]) {
          const done = await check({ headers: [...headers, ["accept", "*/*"]], raw });
          expect(done).toMatchObject({ admitted: true, code: 0, metadata: facts });
          expect(forwarded([...headers, ["accept", "*/*"]], done)).toEqual({
            accept: "*/*",
            "x-latchkey-key-id": keyId,
            "x-latchkey-owner-id": ownerId,
            "x-latchkey-tier": "pro",
            "x-latchkey-scopes": "orders:read orders:write",
            "x-latchkey-environment": "live",
          });
        }
      }
    });

    it("tells the tier and the scopes that the owner's grant leaves", async () => {
      const { apiKey, ownerId } = await newKey({ scopes: ["orders:read", "orders:write"], tier: "pro" });
      await admin.updateUser({ user: { id: ownerId, tier: "basic", scopes: ["orders:read"] } });
      const { set } = await check({ headers: withKey(apiKey) });
      expect([set["x-latchkey-tier"], set["x-latchkey-scopes"]]).toEqual(["basic", "orders:read"]);
    });

    it("tells the limits on the response, over those of the upstream", async () => {
      const { apiKey } = await newKey({ limits: { perMinute: 60, perDay: 50 } });
      const { headers } = await check({ headers: withKey(apiKey) });
      expect(headers["ratelimit-policy"]).toBe('"minute";q=60;w=60, "day";q=50;w=86400');
      expect(headers["x-ratelimit-remaining"]).toBe("49");
    });

    it("removes each identity that the client made up, in all spellings, and none that it sets", async () => {
      const { apiKey, keyId } = await newKey();
      const forged: Headers = [
        ["x-latchkey-key-id", "key_forged"],
        ["X-Latchkey-Owner-Id", "usr_forged"],
        ["x_latchkey_key_id", "key_forged"],
        ["X_LATCHKEY_TIER", "enterprise"],
        ["x-latchkey_scopes", "admin"],
        ["x-latchkey-scopes", "admin"],
        ["x-latchkey-user-id", "usr_forged"],
        ["x-latchkey-invented", "yes"],
        ["x_api_key", "another"],
      ];
      for (const raw of [false, true]) {
        const headers = [...forged, ...withKey(apiKey)];
        const done = await check({ headers, raw });
        const sent = forwarded(headers, done);
        expect(sent).toMatchObject({ "x-latchkey-key-id": keyId, "x-latchkey-tier": "basic" });
        expect(Object.keys(sent).sort()).toEqual(
          ["environment", "key-id", "owner-id", "tier"].map((name) => `x-latchkey-${name}`),
        );
      }
    });

    it("removes names that it does not see, because Envoy may be told to send only some headers", async () => {
      const { apiKey } = await newKey();
      const { removed } = await check({ headers: withKey(apiKey) });
      expect(removed.toSorted()).toEqual(["x-api-key", "x-latchkey-scopes", "x-latchkey-user-id"]);
    });

    it("leaves a credential of another scheme to the upstream", async () => {
      const { apiKey } = await newKey();
      const headers: Headers = [...withKey(apiKey), ["authorization", "Basic eDp5"]];
      expect(forwarded(headers, await check({ headers })).authorization).toBe("Basic eDp5");
    });
  });

  describe("of a request that is refused", () => {
    it("answers as the middleware does", async () => {
      const done = await check({});
      expect(done).toMatchObject({ admitted: false, code: 16, status: 401, metadata: { code: "CREDENTIAL_MISSING" } });
      expect(done.headers).toEqual({
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "www-authenticate": 'Bearer realm="api"',
      });
      expect(JSON.parse(done.body)).toMatchObject({ type: "about:blank", status: 401, code: "CREDENTIAL_MISSING" });
    });

    it("refuses a credential that comes joined, repeated, or as two that differ", async () => {
      const { apiKey } = await newKey();
      const requests: AskedRequest[] = [
        { headers: [...withKey(apiKey), ...withKey(apiKey)] },
        { headers: [...withKey(apiKey), ...withKey(apiKey)], raw: true },
        { headers: [...withKey(apiKey), ["X-API-KEY", apiKey]], raw: true },
        { headers: withKey(`${apiKey}, ${apiKey}`) },
        { headers: [...withKey(apiKey), ["authorization", "Bearer another"]] },
      ];
      for (const asked of requests) {
        expect(await check(asked)).toMatchObject({ status: 401, metadata: { code: "CREDENTIAL_AMBIGUOUS" } });
      }
    });

    it("never reads a key from the URL or from a header of another spelling", async () => {
      const { apiKey } = await newKey();
      for (const asked of [
        { path: `/orders?api_key=${apiKey}` },
        { headers: [["x_api_key", apiKey]] as Headers },
        { headers: [["cookie", `x-api-key=${apiKey}`]] as Headers },
      ]) {
        expect(await check(asked)).toMatchObject({ metadata: { code: "CREDENTIAL_MISSING" } });
      }
    });

    it("says 429 with the wait when a limit is reached", async () => {
      const { apiKey } = await newKey();
      const asked = { headers: withKey(apiKey), route: { "latchkey.limits.search.v2.per_minute": "2" } };
      const answers = [await check(asked), await check(asked), await check(asked)];
      expect(answers.map(({ admitted }) => admitted)).toEqual([true, true, false]);
      expect(answers[0]!.headers["ratelimit-policy"]).toContain('"search.v2/minute";q=2;w=60');
      expect(answers[2]).toMatchObject({ code: 8, status: 429, metadata: { code: "RATE_LIMITED" } });
      expect(Number(answers[2]!.headers["retry-after"])).toBeGreaterThan(0);
    });

    it("gives a gRPC client its status and a short text", async () => {
      const { apiKey } = await newKey();
      const asked = {
        method: "POST",
        path: "/shop.v1.Orders/List",
        headers: [...withKey(apiKey), ["content-type", "application/grpc+proto"]] as Headers,
        route: { "latchkey.limits.grpc.per_minute": "1" },
      };
      expect(await check(asked)).toMatchObject({ admitted: true });
      const limited = await check(asked);
      expect(limited).toMatchObject({ code: 8, status: 429, body: "A rate limit is reached." });
      expect(limited.headers).toMatchObject({ "grpc-status": "8", "retry-after": expect.any(String) });
      expect(limited.headers["content-type"]).toBeUndefined();
      const missing = await check({ ...asked, headers: [["content-type", "application/grpc"]] });
      expect(missing.headers).toMatchObject({ "grpc-status": "16", "www-authenticate": 'Bearer realm="api"' });
    });
  });

  describe("of a route with settings", () => {
    it("asks for scopes, tiers and an environment", async () => {
      const { apiKey } = await newKey({ scopes: ["orders:read"] });
      const codeWith = async (route: Record<string, string>) => {
        const { admitted, status, metadata } = await check({ headers: withKey(apiKey), route });
        return admitted ? "OK" : `${status} ${(metadata as { code: string }).code}`;
      };
      expect(await codeWith({ "latchkey.scopes": "orders:read", other: "of another program" })).toBe("OK");
      expect(await codeWith({ "latchkey.scopes": "orders:read, orders:write" })).toBe("403 SCOPE_MISSING");
      expect(await codeWith({ "latchkey.tiers": "basic pro" })).toBe("OK");
      expect(await codeWith({ "latchkey.tiers": "pro" })).toBe("403 TIER_NOT_ALLOWED");
      expect(await codeWith({ "latchkey.environment": "live" })).toBe("OK");
      expect(await codeWith({ "latchkey.environment": "test" })).toBe("401 INVALID");
      expect(await codeWith({ "latchkey.cost": "1000" })).toBe("429 RATE_LIMITED");
    });

    it("judges the key by the address that Envoy tells, never by X-Forwarded-For", async () => {
      const { apiKey } = await newKey({ allowedIps: ["198.51.100.0/24"] });
      const inside: Headers = [["x-envoy-external-address", "198.51.100.9"]];
      const asked = (address: string, headers: Headers, route = {}) =>
        check({ address, headers: [...withKey(apiKey), ...headers], raw: true, route }).then(
          ({ admitted }) => admitted,
        );
      const byHeader = { "latchkey.address_header": "X-Envoy-External-Address" };
      expect(await asked("198.51.100.9", [])).toBe(true);
      expect(await asked("192.0.2.1", [["x-forwarded-for", "198.51.100.9"], ...inside])).toBe(false);
      expect(await asked("192.0.2.1", inside, byHeader)).toBe(true);
      expect(await asked("198.51.100.9", [], byHeader)).toBe(false);
      expect(await asked("198.51.100.9", [...inside, ...inside], byHeader)).toBe(false);
    });

    it("judges the key by the method without the query, and by the full name for gRPC", async () => {
      const { apiKey } = await newKey({ allowedMethods: ["GET /orders/*", "/shop.v1.Orders/List"] });
      const asked = async (method: string, path: string, ...more: Headers) =>
        (await check({ method, path, headers: [...withKey(apiKey), ...more] })).admitted;
      expect(await asked("GET", "/orders/7?sort=up")).toBe(true);
      expect(await asked("DELETE", "/orders/7")).toBe(false);
      expect(await asked("POST", "/shop.v1.Orders/List", ["content-type", "application/grpc"])).toBe(true);
      expect(await asked("POST", "/shop.v1.Orders/Delete", ["content-type", "application/grpc"])).toBe(false);
    });

    it("takes people where the route says so, and refuses the other kind", async () => {
      const { user, tokens } = await service.newPerson();
      const { apiKey } = await newKey();
      const bearer = (text: string): Headers => [["authorization", `Bearer ${text}`]];
      const codeOf = async (accept: string, headers: Headers) =>
        ((await check({ headers, route: { "latchkey.accept": accept } })).metadata as Record<string, string>).code;
      const done = await check({ headers: bearer(tokens!.accessToken), route: { "latchkey.accept": "user" } });
      expect(forwarded(bearer(tokens!.accessToken), done)).toEqual({ "x-latchkey-user-id": user.id });
      expect(done.metadata).toEqual({ user_id: user.id });
      expect(await codeOf("key,user", bearer(tokens!.accessToken))).toBeUndefined();
      expect(await codeOf("key,user", bearer(apiKey))).toBeUndefined();
      expect(await codeOf("key,user", withKey(apiKey))).toBeUndefined();
      expect(await codeOf("user", bearer(apiKey))).toBe("TOKEN_INVALID");
      expect(await codeOf("user", withKey(apiKey))).toBe("CREDENTIAL_MISSING");
      expect(await codeOf("key", bearer(tokens!.accessToken))).toBe("INVALID");
      expect(await codeOf("key,user", withKey(tokens!.accessToken))).toBe("INVALID");
      expect(await codeOf("key,user", [...withKey(apiKey), ...bearer(tokens!.accessToken)])).toBe(
        "CREDENTIAL_AMBIGUOUS",
      );
      await admin.endUserSessions({ userId: user.id });
      expect(await codeOf("user", bearer(tokens!.accessToken))).toBe("TOKEN_INVALID");
    });

    it("refuses every request of a route with a setting that is wrong, and tells the log once", async () => {
      const { apiKey } = await newKey();
      const route = { "latchkey.scope": "orders:read" };
      for (const headers of [[], withKey(apiKey), withKey(apiKey)]) {
        const done = await check({ headers, route });
        expect(done).toMatchObject({ code: 13, status: 500, metadata: { code: "CONFIGURATION" } });
        expect(JSON.parse(done.body).code).toBe("CONFIGURATION");
      }
      const told = service.lines.filter(({ fields }) => fields.fault === "latchkey.scope: is no setting");
      expect(told).toHaveLength(1);
      expect(JSON.stringify(told)).not.toContain(apiKey);
    });
  });

  it("has room for the largest headers that Envoy takes", async () => {
    const { apiKey } = await newKey();
    const path = `/${"x".repeat(58 * 1024)}`;
    const many = Array.from({ length: 90 }, (_, at) => [`x-filler-${at}`, "y".repeat(600)] as const);
    expect(await check({ path, headers: withKey(apiKey) })).toMatchObject({ admitted: true });
    expect(await check({ headers: [...withKey(apiKey), ...many] })).toMatchObject({ admitted: true });
    const oversized = await errorOf(envoy.check(checkOf({ path: `/${"x".repeat(256 * 1024)}` })));
    expect(oversized.code).toBe(Code.ResourceExhausted);
  });

  it("judges a request with nothing in it, and one that is no HTTP request", async () => {
    for (const empty of [{}, { attributes: {} }, { attributes: { request: {} } }]) {
      expect(doneBy(await envoy.check(empty))).toMatchObject({ status: 401, metadata: { code: "CREDENTIAL_MISSING" } });
    }
  });

  it("answers every check that can be written, and never with an error", async () => {
    const { apiKey } = await newKey({ limits: { perMinute: 100_000 } });
    const { tokens } = await service.newPerson();
    const odd = fc.string({ unit: fc.constantFrom("a", "/", ",", " ", ".", "%", "\0", "é", "\u202e", "😀", ":", "_") });
    const credentials = fc.constantFrom(apiKey, `${apiKey}x`, tokens!.accessToken, `Bearer ${apiKey}`, "Bearer a.b.c");
    const name = fc.oneof(
      fc.constantFrom("x-api-key", "authorization", "content-type", "x-latchkey-key-id", "X_API_Key", ":path", "a"),
      odd,
    );
    const header = fc.tuple(name, fc.oneof(credentials, odd, fc.constant("application/grpc")));
    const setting = fc.oneof(
      fc.constantFrom("scopes", "tiers", "cost", "accept", "address_header", "environment", "limits.a.per_minute"),
      odd,
    );
    const named = setting.map((each) => `latchkey.${each}`);
    const value = fc.oneof(fc.constantFrom("1", "user", "key,user", "a", "x-api", "99999999999"), odd);
    const asked = fc.record({
      method: fc.oneof(fc.constantFrom("GET", "POST"), odd),
      path: fc.oneof(fc.constant("/orders"), odd, fc.webUrl({ withQueryParameters: true })),
      address: fc.oneof(fc.ipV4(), fc.ipV6(), odd, fc.constant("fe80::1%eth0")),
      headers: fc.oneof(fc.constant(withKey(apiKey)), fc.array(header, { maxLength: 6 })),
      raw: fc.boolean(),
      route: fc.oneof(fc.constant({}), fc.dictionary(named, value, { maxKeys: 2 })),
    });
    const statuses = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(asked, async (one) => {
        const done = await check(one);
        statuses.add(done.status);
        expect(done.admitted).toBe(done.status === undefined);
        expect(done.code === 0).toBe(done.admitted);
        expect(done.body).not.toContain(apiKey.slice(-20));
      }),
      { numRuns: 150 },
    );
    expect([...statuses]).toEqual(expect.arrayContaining([undefined, 401, 500]));
  });
});
