import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { DomainError, invalidField } from "../../src/lib/errors.ts";
import { type FrontDoor, startFrontDoor } from "../support/front-door.ts";
import { type RestClient, type RestProtocol, type RestRequest, restClient } from "../support/rest-request.ts";
import { until } from "../support/until.ts";

const JSON_TYPE = { "content-type": "application/json" };
const USER = { authorization: "Bearer user" };
const SERVICE = { authorization: "Bearer service" };
const LIMIT = 64 * 1024;
const ORIGIN = "https://shop.example";

let wire: FrontDoor;
let logins = 0;
/** Resolves when the handler that hangs has seen the end of its call. */
let ended: Promise<string>;

beforeAll(async () => {
  wire = await startFrontDoor({
    auth: {
      login: async ({ email }, call) => {
        logins++;
        switch (email) {
          case "bad":
            throw invalidField("email", "must be an address", "EMAIL_MALFORMED");
          case "throttled":
            throw new DomainError("TOO_MANY_ATTEMPTS", "wait", { retryAfterMs: 1500 });
          case "bug":
            throw new TypeError("duplicate key (password)=(hunter2)");
          case "hangs": {
            const { promise, resolve } = Promise.withResolvers<string>();
            ended = promise;
            call.signal.addEventListener("abort", () => resolve((call.signal.reason as DomainError).reason));
            return new Promise(() => {});
          }
          default:
            return { user: { email, id: `${call.caller.kind} ${call.clientIp}` } };
        }
      },
      getCurrentUser: async () => ({ user: { id: "usr_1" } }),
    },
    keys: {
      getKey: async ({ keyId }) => ({ key: { id: keyId } }),
      listKeys: async ({ pageSize, pageToken }) => ({ totalSize: pageSize, nextPageToken: pageToken }),
      updateKey: async ({ key, updateMask }) => ({ key: { ...key!, scopes: updateMask?.paths ?? [] } }),
      deleteKey: async () => ({}),
      disableKey: async ({ keyId }) => ({ key: { id: keyId } }),
      verifyKey: (_request, call) => {
        call.addHeader("retry-after", "7");
        return { verdict: Verdict.RATE_LIMITED };
      },
      batchVerifyKeys: async ({ requests }) => ({ results: requests.map(() => ({})) }),
    },
    options: { corsOrigins: [ORIGIN] },
  });
});
afterAll(() => wire.server.stop());

describe.each<RestProtocol>(["HTTP/1.1", "HTTP/2"])("over %s,", (protocol) => {
  let client: RestClient;
  beforeAll(() => {
    client = restClient(protocol, wire.address);
  });
  afterAll(() => client[Symbol.dispose]());
  const ask = (verb: string, target: string, request?: RestRequest) => client.ask(verb, target, request);
  const login = (body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) =>
    ask("POST", "/v1/auth/login", { body, headers });

  it("a resource is answered with all of its fields, and is never cached or taken for anything else than JSON", async () => {
    const { status, headers, json } = await ask("GET", "/v1/keys/key%5F1", { headers: USER });
    expect([status, json.key.id, json.key.scopes, json.key.name]).toEqual([200, "key_1", [], ""]);
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    });
  });

  it("HEAD has the headers of GET, and no body", async () => {
    const get = await ask("GET", "/v1/keys/key_1", { headers: USER });
    const head = await ask("HEAD", "/v1/keys/key_1", { headers: USER });
    expect([head.status, head.text]).toEqual([200, ""]);
    for (const name of ["content-type", "content-length", "cache-control"]) {
      expect(head.headers[name]).toBe(get.headers[name]);
    }
    expect((await ask("HEAD", "/v1/keys/key_1")).status).toBe(401);
    expect((await ask("HEAD", "/v1/keys:verify", { headers: SERVICE })).status).toBe(405);
  });

  it("a query reaches the request, and a wrong one is refused after the credential is judged", async () => {
    const { json } = await ask("GET", "/v1/keys?page_size=9&pageToken=t", { headers: USER });
    expect([json.totalSize, json.nextPageToken]).toEqual([9, "t"]);
    expect((await ask("GET", "/v1/keys?page_size=9&page_size=9", { headers: USER })).status).toBe(400);
    expect((await ask("GET", "/v1/keys?pagesize=9")).status).toBe(401);
    const inQuery = await ask("POST", "/v1/keys:verify?api_key=x", {
      headers: { ...SERVICE, ...JSON_TYPE },
      body: "{}",
    });
    expect(inQuery.status).toBe(400);
  });

  it("an update has the resource as its body and the mask in its query, whose id must be that of the path", async () => {
    const headers = { ...USER, ...JSON_TYPE };
    const target = "/v1/keys/key_1?update_mask=allowedIps,expire_time";
    const good = await ask("PATCH", target, { headers, body: '{"name": "n", "id": "key_1"}' });
    expect([good.status, good.json.key]).toMatchObject([200, { id: "key_1", name: "n" }]);
    expect(good.json.key.scopes).toEqual(["allowed_ips", "expire_time"]);
    const bad = await ask("PATCH", target, { headers, body: '{"id": "key_2"}' });
    expect([bad.status, bad.json.error.details[1].fieldViolations[0].field]).toEqual([400, "key.id"]);
  });

  it("a deletion, and a change without a body, need no Content-Type", async () => {
    expect(await ask("DELETE", "/v1/keys/key_1", { headers: USER })).toMatchObject({ status: 200, json: {} });
    expect(await ask("POST", "/v1/keys/key_1:disable", { headers: USER })).toMatchObject({
      ...{ status: 200, json: { key: { id: "key_1" } } },
    });
  });

  it("a refused key is an answer with `valid: false`, and with the time to wait", async () => {
    const { status, headers, json } = await ask("POST", "/v1/keys:verify", { headers: SERVICE });
    expect([status, json.valid, json.verdict]).toEqual([200, false, "VERDICT_RATE_LIMITED"]);
    expect(headers["retry-after"]).toBe("7");
  });

  it("a wrong field is answered in the form of AIP-193", async () => {
    const { status, json } = await login('{"email": "bad"}');
    expect(status).toBe(400);
    expect(json).toEqual({
      error: {
        code: 400,
        status: "INVALID_ARGUMENT",
        message: expect.any(String),
        details: [
          {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            domain: "latchkey",
            reason: "INVALID_FIELD",
            metadata: {},
          },
          {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            fieldViolations: [{ field: "email", description: "must be an address", reason: "EMAIL_MALFORMED" }],
          },
        ],
      },
    });
  });

  it("an error that goes by says how long to wait, in whole seconds", async () => {
    const { status, headers, json } = await login('{"email": "throttled"}');
    expect([status, headers["retry-after"], json.error.status]).toEqual([429, "2", "RESOURCE_EXHAUSTED"]);
    expect(json.error.details[1].retryDelay).toBe("1.500s");
  });

  it("a fault of the service is answered with 500 and none of its text", async () => {
    const { status, text } = await login('{"email": "bug"}');
    expect(status).toBe(500);
    expect(text).not.toContain("hunter2");
  });

  it("a call without a credential is refused with a challenge, before a byte of its body has come", async () => {
    const headers = { ...JSON_TYPE, "content-length": "2" };
    const { status, headers: received, json } = await ask("POST", "/v1/keys:verify", { headers, isOpen: true });
    expect([status, json.error.status, received["www-authenticate"]]).toEqual([401, "UNAUTHENTICATED", "Bearer"]);
    expect((await ask("POST", "/v1/keys:verify", { headers: USER, body: "{}" })).status).toBe(403);
  });

  it.each([
    ["GET", "/v1"],
    ["GET", "/v1/"],
    ["POST", "/v1/keys/"],
    ["OPTIONS", "/v1/nothing"],
    ["GET", "/v1/keys/key_1/more"],
    ["POST", "/v1/keys/key_1:verify"],
    ["GET", `/v1/keys/${"x".repeat(2000)}`],
  ])("%s %s is answered with 404 in the same form", async (verb, target) => {
    const { status, json, headers } = await ask(verb, target, { headers: USER });
    expect([status, json.error.code, json.error.status]).toEqual([404, 404, "NOT_FOUND"]);
    expect([json.error.details[0].reason, headers["cache-control"]]).toEqual(["HTTP_PATH_NOT_FOUND", "no-store"]);
  });

  it.each([
    ["GET", "/v1/auth/login", "POST, OPTIONS"],
    ["DELETE", "/v1/keys", "GET, HEAD, POST, OPTIONS"],
    ["PUT", "/v1/keys/key_1", "GET, HEAD, PATCH, DELETE, OPTIONS"],
    ["TRACE", "/v1/keys:verify", "POST, OPTIONS"],
  ])("%s %s is answered with 405, and `Allow` names the methods", async (verb, target, allow) => {
    const { status, json, headers } = await ask(verb, target, { headers: USER });
    expect([status, json.error.code, json.error.details[0].reason]).toEqual([405, 405, "HTTP_METHOD_NOT_ALLOWED"]);
    expect(headers.allow!.split(", ").sort()).toEqual(allow.split(", ").sort());
  });

  it("OPTIONS is answered with the methods, without a credential and whatever its body", async () => {
    const { status, headers, text } = await ask("OPTIONS", "/v1/keys/key_1", { body: "x".repeat(100_000) });
    expect([status, text]).toEqual([204, ""]);
    expect(headers.allow).toContain("PATCH");
  });

  it.each([
    ["none", {}],
    ["text/plain", { "content-type": "text/plain" }],
    ["application/x-www-form-urlencoded", { "content-type": "application/x-www-form-urlencoded" }],
    ["application/json with another charset", { "content-type": "application/json; charset=utf-16" }],
    ["application/jsonp", { "content-type": "application/jsonp" }],
    ["application/grpc", { "content-type": "application/grpc" }],
    ["application/json with gzip", { ...JSON_TYPE, "content-encoding": "gzip" }],
  ])("a body with the Content-Type %s is refused with 415, and the next request is served", async (_name, headers) => {
    const before = logins;
    const { status, json } = await login('{"email": "a"}', headers as Record<string, string>);
    expect([status, json.error.details[0].reason, logins]).toEqual([415, "HTTP_CONTENT_NOT_ALLOWED", before]);
    expect((await login('{"email": "a"}')).status).toBe(200);
  });

  it.each(["application/json;charset=utf-8", 'Application/JSON; Charset="UTF-8"', "application/json ; charset=utf-8"])(
    "a body with the Content-Type %j is read",
    async (type) => {
      expect((await login('{"email": "a"}', { "content-type": type })).json.user.email).toBe("a");
    },
  );

  it("a body of exactly the maximum is read, and a larger one is refused with 413", async () => {
    const sized = (size: number) => `{"email": "${"x".repeat(size - 13)}"}`;
    expect(sized(LIMIT)).toHaveLength(LIMIT);
    expect((await login(sized(LIMIT))).status).toBe(200);
    const tooLarge = await login(sized(LIMIT + 1));
    expect([tooLarge.status, tooLarge.json.error.status]).toEqual([413, "RESOURCE_EXHAUSTED"]);
    const batch = (size: number) =>
      ask("POST", "/v1/keys:batchVerify", { headers: { ...SERVICE, ...JSON_TYPE }, body: "{}".padEnd(size) });
    expect((await batch(4 * LIMIT)).status).toBe(200);
    expect((await batch(4 * LIMIT + 1)).status).toBe(413);
  });

  it("a body that its path does not take is refused, because it would not be judged", async () => {
    const headers = { ...USER, ...JSON_TYPE };
    for (const verb of ["GET", "DELETE"]) {
      const refused = await ask(verb, "/v1/keys/key_1", { headers, body: "{}" });
      expect([verb, refused.status, refused.json.error.status]).toEqual([verb, 400, "INVALID_ARGUMENT"]);
    }
    expect((await ask("GET", "/v1/keys/key_1", { headers })).status).toBe(200);
  });

  it.each([
    ["malformed JSON", "{"],
    ["an unknown field", '{"kit_live_x": 1}'],
    ["a repeated field", '{"email": "a", "email": "b"}'],
    ["a lone surrogate", '{"email": "\\ud800"}'],
    ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
    ["another type", '{"email": 5}'],
    ["deep JSON", "[".repeat(60_000)],
  ])("a body with %s is refused without a call of the handler, and its text is not repeated", async (_name, body) => {
    const before = logins;
    const { status, text, json } = await login(body);
    expect([status, json.error.details[0].reason, logins]).toEqual([400, "MESSAGE_INVALID", before]);
    expect(text).not.toMatch(/kit_live|ud800|\[\[/);
  });

  it("a deadline by `grpc-timeout` is kept, and a malformed one is refused", async () => {
    const late = await login('{"email": "hangs"}', { ...JSON_TYPE, "grpc-timeout": "50m" });
    expect([late.status, late.json.error.status, await ended]).toEqual([504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]);
    expect((await login("{}", { ...JSON_TYPE, "grpc-timeout": "5" })).status).toBe(400);
  });

  it("a call takes its caller's share while it runs, and a client that goes away ends it", async () => {
    const gone = new AbortController();
    const before = logins;
    const asked = ask("POST", "/v1/auth/login", {
      headers: JSON_TYPE,
      body: '{"email": "hangs"}',
      signal: gone.signal,
    });
    await until(() => logins > before, "the handler was called");
    expect(wire.server.callsInFlight).toBe(1);
    gone.abort();
    await asked.catch(() => {});
    expect(await ended).toBe("CANCELLED");
    await until(() => wire.finished.at(-1)?.[1] === "CANCELLED", "the call is counted");
    expect(wire.server.callsInFlight).toBe(0);
  });

  it("logs have the template of the path, and nothing of path, query or body", async () => {
    const before = wire.log.length;
    await ask("GET", "/v1/keys/kit_live_x?kit_live_y=1", { headers: USER });
    await ask("PATCH", "/v1/keys/kit_live_x", { headers: { ...USER, ...JSON_TYPE }, body: '{"name": "kit_live_z"}' });
    await ask("POST", "/v1/keys/kit_live_x:rot?kit_live_y", { headers: USER });
    const lines = wire.log.slice(before);
    expect(JSON.stringify(lines)).not.toContain("kit_live");
    expect(lines.map(({ fields }) => (fields as { http_route?: string }).http_route)).toEqual([
      "GET /v1/keys/{key_id}",
      "PATCH /v1/keys/{key.id}",
    ]);
  });

  it("a page of an allowed origin may use every method, and sees the headers that it needs", async () => {
    const headers = { origin: ORIGIN, "access-control-request-method": "PATCH" };
    const preflight = await ask("OPTIONS", "/v1/keys/key_1", { headers });
    expect([preflight.status, preflight.headers["access-control-allow-methods"]]).toEqual([
      ...[204, "GET, HEAD, POST, PATCH, DELETE"],
    ]);
    expect(preflight.headers["cache-control"]).toBe("no-store");
    const answer = await ask("GET", "/v1/keys/key_1", { headers: { origin: ORIGIN } });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([401, ORIGIN]);
    const exposed = answer.headers["access-control-expose-headers"]!.split(", ");
    for (const name of ["Retry-After", "WWW-Authenticate", "Allow", "RateLimit", "RateLimit-Policy"]) {
      expect(exposed).toContain(name);
    }
    const foreign = await ask("OPTIONS", "/v1/keys/key_1", { headers: { ...headers, origin: "https://evil.example" } });
    expect(foreign.headers["access-control-allow-origin"]).toBeUndefined();
  });
});
