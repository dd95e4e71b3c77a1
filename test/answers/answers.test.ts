/** The pure core of every door: what is read from a request, and how a decision looks. */
import { describe, expect, it } from "vitest";
import { type Denial, denial, REFUSALS, type Refusal, type WindowState } from "../../src/answers/decision.ts";
import { grpcAnswer } from "../../src/answers/grpc-answer.ts";
import { httpAnswer } from "../../src/answers/http-answer.ts";
import { presentedKey, presentedToken } from "../../src/answers/presented-credential.ts";
import { rateLimitFields } from "../../src/answers/rate-limit-fields.ts";
import { clientAddress, httpMethod, withoutPort } from "../../src/answers/request-facts.ts";

const headersOf = (headers: Readonly<Record<string, readonly string[]>>) => (name: string) => headers[name] ?? [];
const windowOf = (name: string, windowMs: number, limit: number, remaining: number): WindowState => ({
  name,
  windowMs,
  limit,
  remaining,
  resetAfterMs: 1001,
});

describe("a presented credential", () => {
  it.each([
    [{}, "none"],
    [{ "x-api-key": ["a"] }, "a"],
    [{ "x-api-key": [" a "] }, "a"],
    [{ authorization: ["Bearer a"] }, "a"],
    [{ authorization: ["bEARER   a"] }, "a"],
    [{ authorization: ["Bearer"] }, "none"],
    [{ authorization: ["Bearera"] }, "none"],
    [{ authorization: ["Basic a"] }, "none"],
    [{ authorization: ["Basic a"], "x-api-key": ["b"] }, "b"],
    [{ authorization: ["Bearer a"], "x-api-key": ["a"] }, "a"],
    [{ authorization: ["Bearer a"], "x-api-key": ["A"] }, "ambiguous"],
    [{ authorization: ["Bearer a", "Bearer a"] }, "ambiguous"],
    [{ authorization: ["Bearer a, Bearer b"] }, "ambiguous"],
    [{ authorization: ["Basic a", "Bearer b"], "x-api-key": ["b"] }, "ambiguous"],
    [{ "x-api-key": ["a", "a"] }, "ambiguous"],
    [{ "x-api-key": ["a, b"] }, "ambiguous"],
    [{ "x-api-key": ["", "a"] }, "a"],
  ])("of %j is %s", (headers: Readonly<Record<string, readonly string[]>>, expected) => {
    const presented = presentedKey(headersOf(headers));
    expect(presented.kind === "one" ? presented.text : presented.kind).toBe(expected);
  });

  it("for a person is never X-API-Key", () => {
    expect(presentedToken(headersOf({ "x-api-key": ["a"] }))).toEqual({ kind: "none" });
    expect(presentedToken(headersOf({ authorization: ["Bearer a.b.c"] }))).toEqual({ kind: "one", text: "a.b.c" });
  });
});

describe("facts of a request", () => {
  it.each([
    ["/orders?a=/b#c", "GET /orders"],
    ["/a%2Fb/../c", "GET /a%2Fb/../c"],
    ["http://host:1/orders?x", "GET /orders"],
    ["http://host", "GET /"],
    ["?x", "GET /"],
    ["//host/a", "GET //host/a"],
    ["/é", undefined],
    [`/${"a".repeat(1020)}`, undefined],
  ])("%s is the method %s", (target, method) => expect(httpMethod("GET", target)).toBe(method));

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["fe80::1%eth0", "fe80::1"],
    ["", undefined],
    [undefined, undefined],
    ["unix:", undefined],
  ])("%s is the address %s", (text, address) => expect(clientAddress(text)).toBe(address));

  it.each([
    ["192.0.2.1:443", "192.0.2.1"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["2001:db8::1", "2001:db8::1"],
    ["unix:/run/a", "unix:/run/a"],
  ])("%s without its port is %s", (peer, address) => expect(withoutPort(peer)).toBe(address));
});

describe("fields of rate limits", () => {
  it("name each window, and the older ones the window with the least remaining share", () => {
    const windows = [
      windowOf("", 60_000, 60, 59),
      windowOf("", 86_400_000, 5000, 10),
      windowOf("search", 60_000, 0, 0),
    ];
    expect(Object.fromEntries(rateLimitFields(windows))).toEqual({
      "RateLimit-Policy": '"minute";q=60;w=60, "day";q=5000;w=86400, "search/minute";q=0;w=60',
      RateLimit: '"minute";r=59;t=2, "day";r=10;t=2, "search/minute";r=0;t=2',
      "X-RateLimit-Limit": "0",
      "X-RateLimit-Remaining": "0",
      "X-RateLimit-Reset": "2",
    });
    expect(rateLimitFields([])).toEqual([]);
  });
});

describe("an answer", () => {
  const headersFor = (one: Denial, realm = "api") => Object.fromEntries(httpAnswer(one, realm).headers);

  it.each([
    [1, "1"],
    [1000, "1"],
    [1001, "2"],
    [undefined, undefined],
  ])("to a limited request says to wait %s ms by Retry-After: %s", (retryAfterMs, value) => {
    expect(headersFor({ ...denial("RATE_LIMITED"), retryAfterMs })["Retry-After"]).toBe(value);
    expect(headersFor({ ...denial("CREDITS_EXHAUSTED"), retryAfterMs })["Retry-After"]).toBeUndefined();
  });

  it("quotes the realm, and leaves out scopes that a challenge can't have", () => {
    const scope = (requiredScopes: readonly string[]) => headersFor({ ...denial("SCOPE_MISSING"), requiredScopes });
    expect(headersFor(denial("CREDENTIAL_MISSING"), 'a"\\b')["WWW-Authenticate"]).toBe('Bearer realm="a\\"\\\\b"');
    expect(scope(["a", "b"])["WWW-Authenticate"]).toBe('Bearer realm="api", error="insufficient_scope", scope="a b"');
    expect(scope(['a"', "b"])["WWW-Authenticate"]).toBe('Bearer realm="api", error="insufficient_scope"');
  });

  it.each(Object.keys(REFUSALS) as Refusal[])("to %s is the same over HTTP and gRPC", (code) => {
    const codes = {
      401: "UNAUTHENTICATED",
      403: "PERMISSION_DENIED",
      429: "RESOURCE_EXHAUSTED",
      500: "INTERNAL",
      503: "UNAVAILABLE",
    };
    const http = httpAnswer(denial(code), "api");
    const grpc = grpcAnswer(denial(code), "api");
    expect(grpc.code).toBe(codes[http.status as keyof typeof codes]);
    expect(JSON.parse(http.body)).toEqual({ type: "about:blank", title: grpc.message, status: http.status, code });
    expect(grpc.metadata).toEqual(http.headers.slice(2).map(([name, value]) => [name.toLowerCase(), value]));
  });

  it("names the windows that refused a call", () => {
    const [full, other] = [windowOf("a", 60_000, 5, 0), windowOf("", 60_000, 60, 3)];
    const subjects = (windows: readonly WindowState[]) =>
      grpcAnswer({ ...denial("RATE_LIMITED"), windows }, "api").violations.map(({ subject }) => subject);
    expect(subjects([full, other])).toEqual(["a/minute"]);
    expect(subjects([other])).toEqual(["minute"]);
  });
});
