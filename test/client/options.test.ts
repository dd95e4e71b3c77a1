import { createRouterTransport } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { apiKeyGuard, rateLimitGuard, userGuard } from "../../client/src/guards.ts";
import { createLatchkey } from "../../client/src/latchkey.ts";
import { fakeLatchkey } from "../../client/src/testing.ts";

const GOOD = { baseUrl: "http://127.0.0.1:8080", credential: "kit_svc_secret" };
const transport = createRouterTransport(() => {});

describe("createLatchkey", () => {
  it.each<[named: string, options: unknown]>([
    ["the options", undefined],
    ["`baseUrl` or `transport`", { credential: "a" }],
    ["`baseUrl` or `transport`", { ...GOOD, transport }],
    ["`baseUrl`", { ...GOOD, baseUrl: "127.0.0.1:8080" }],
    ["`baseUrl`", { ...GOOD, baseUrl: "http://user:pass@127.0.0.1" }],
    ["`baseUrl`", { ...GOOD, baseUrl: "http://127.0.0.1?a=b" }],
    ["`transport`", { credential: "a", transport: {} }],
    ["`credential`", { baseUrl: GOOD.baseUrl }],
    ["`credential`", { ...GOOD, credential: "" }],
    ["`credential`", { ...GOOD, credential: "Bearer kit_svc_secret" }],
    ["`credential`", { ...GOOD, credential: "kit_svc_secret\n" }],
    ["`clientCertificate`", { ...GOOD, clientCertificate: { cert: "a", key: "secret" } }],
    ["`clientCertificate`", { credential: "a", transport, clientCertificate: { cert: "a", key: "secret" } }],
    ["`clientCertificate`", { baseUrl: "https://a", clientCertificate: { cert: "a", keys: "secret" } }],
    ["`deadlineMs`", { ...GOOD, deadlineMs: 0 }],
    ["`deadlineMs`", { ...GOOD, deadlineMs: "1000" }],
    ["`batch`", { ...GOOD, batch: 1 }],
    ["`near`", { ...GOOD, near: 1 }],
    ["`near.maxKey`", { ...GOOD, near: { maxKey: 5 } }],
    ["`near.maxKeys`", { ...GOOD, near: { maxKeys: 0 } }],
    ["`near.maxStalenessMs`", { ...GOOD, near: { maxStalenessMs: 6000 } }],
    ["`near.staleOkMs`", { ...GOOD, near: { staleOkMs: 5000 } }],
    ["`near.counting`", { ...GOOD, near: { counting: "before" } }],
    ["`bacth`", { ...GOOD, bacth: true }],
    ["`accessTokens`", { ...GOOD, accessTokens: true }],
    ["`accessTokens.issuer`", { ...GOOD, accessTokens: { issuer: "" } }],
    ["`accessTokens.jwksURL`", { ...GOOD, accessTokens: { jwksURL: "http://a" } }],
    ["`accessTokens.jwksUrl`", { ...GOOD, accessTokens: { jwksUrl: "file:///etc/passwd" } }],
    ["`accessTokens.jwksUrl`", { credential: "a", transport, accessTokens: { issuer: "http://a" } }],
  ])("names %s (%#)", (named, options) => {
    const make = () => createLatchkey(options as never);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`createLatchkey: ${named}: `);
    expect(make).not.toThrow("secret");
  });

  it("takes a transport, and then verifies access tokens only with a jwksUrl", async () => {
    await using latchkey = createLatchkey({ transport, credential: "a" });
    await expect(latchkey.verifyAccessToken("a.b.c")).rejects.toThrow("jwksUrl");
  });

  it("knows only the events that it has", async () => {
    await using latchkey = createLatchkey(GOOD);
    expect(() => latchkey.on("changes" as never, () => {})).toThrow("no such event");
  });
});

describe("the middleware", () => {
  const latchkey = fakeLatchkey();
  const subject = () => "a";
  it.each<[named: string, make: () => unknown]>([
    ["requireApiKey: `latchkey`", () => apiKeyGuard({} as never)],
    ["requireApiKey: `scope`", () => apiKeyGuard(latchkey, { scope: [] } as never)],
    ["requireApiKey: `scopes`", () => apiKeyGuard(latchkey, { scopes: "a" } as never)],
    ["requireApiKey: `tiers`", () => apiKeyGuard(latchkey, { tiers: "pro" } as never)],
    ["requireApiKey: `cost`", () => apiKeyGuard(latchkey, { cost: -1 })],
    ["requireApiKey: `realm`", () => apiKeyGuard(latchkey, { realm: "a\nb" })],
    ["rateLimit: `subject`", () => rateLimitGuard(latchkey, { name: "a", perMinute: 1 } as never)],
    ["rateLimit: `name`", () => rateLimitGuard(latchkey, { subject, name: "A", perMinute: 1 })],
    ["rateLimit: `perMinute`", () => rateLimitGuard(latchkey, { subject, name: "a" })],
    ["requireUser: `scopes`", () => userGuard(latchkey, { scopes: [] } as never)],
  ])("names %s (%#)", (named, make) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(named);
  });
});
