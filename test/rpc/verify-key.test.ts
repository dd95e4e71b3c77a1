import { durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Key_State } from "../../src/gen/latchkey/v1/key_pb.ts";
import { Freshness_Source, KeyService, Verdict, VerdictSchema } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";
import { until } from "../support/until.ts";

describe("VerifyKey", () => {
  let service: TestService;
  let verifier: Client<typeof KeyService>;
  let manager: Client<typeof KeyService>;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    service = await startTestService();
    verifier = service.client(KeyService, await service.newCredential("verify"));
    manager = service.client(KeyService, await service.newCredential("manage"));
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const verdictOf = async (request: Parameters<typeof verifier.verifyKey>[0]) =>
    VerdictSchema.value[(await verifier.verifyKey(request)).verdict]?.localName;

  it("answers VALID for a valid key, with the key, its windows and the freshness of its record", async () => {
    const { apiKey, key } = await service.newKey({ name: "shown", scopes: ["orders:read"], metadata: { team: "a" } });
    const answer = await verifier.verifyKey({ apiKey, requiredScopes: ["orders:read"] });
    expect(answer).toMatchObject({ valid: true, verdict: Verdict.VALID, degraded: false });
    expect(answer.key).toEqual({ ...key, lastUseTime: undefined });
    expect(answer.rateLimits.map(({ name, limit, remaining }) => ({ name, limit, remaining }))).toEqual([
      { name: "", limit: 20, remaining: 19 },
      { name: "", limit: 1000, remaining: 999 },
    ]);
    expect(answer.freshness?.source).toBe(Freshness_Source.DATABASE);
    expect(answer.freshness?.maxStaleness?.seconds).toBe(5n);
    // The feed reports the issue of the key, so the service reads the key once more.
    const isKept = async () =>
      (await verifier.verifyKey({ apiKey, cost: 0 })).freshness?.source === Freshness_Source.CACHE;
    await until(isKept, "the record is served from memory");
  });

  it("allows 20 calls a minute on the basic tier, refuses the 21st, and says when the next one succeeds", async () => {
    const { apiKey } = await service.newKey();
    for (let n = 1; n <= 20; n++) expect(await verdictOf({ apiKey })).toBe("VALID");
    const refused = await verifier.verifyKey({ apiKey });
    expect(refused).toMatchObject({ valid: false, verdict: Verdict.RATE_LIMITED });
    expect(refused.key).toBeDefined();
    const waitMs = Number(refused.retryAfter!.seconds) * 1000 + refused.retryAfter!.nanos / 1e6;
    expect(waitMs).toBeGreaterThan(50_000);
    expect(waitMs).toBeLessThanOrEqual(61_000);
    const look = await verifier.verifyKey({ apiKey, cost: 0 });
    expect(look).toMatchObject({ valid: true, verdict: Verdict.VALID });
    expect(look.rateLimits[0]?.remaining).toBe(0);
  });

  it.each([
    ["an empty text", () => ""],
    ["a key after Bearer", (key: string) => `Bearer ${key}`],
    ["a key without its last character", (key: string) => key.slice(0, -1)],
    ["a key with one character more", (key: string) => `${key}0`],
    ["a key with a space after it", (key: string) => `${key} `],
    ["a key in upper case", (key: string) => key.toUpperCase()],
    ["a key with another prefix", (key: string) => key.replace("kit_", "kat_")],
    ["a key with another environment in its text", (key: string) => key.replace("_live_", "_test_")],
    ["a key with a changed checksum", (key: string) => key.slice(0, -1) + (key.endsWith("0") ? "1" : "0")],
    ["a key with a homoglyph", (key: string) => key.replace("kit", "kіt")],
    ["a text of 10 KiB", () => "kit_live_".padEnd(10_240, "a")],
    ["a key with NUL inside", (key: string) => `${key.slice(0, 20)}\0${key.slice(21)}`],
  ])("answers INVALID to %s, without a look-up", async (_what, change) => {
    const { apiKey } = await service.newKey();
    const answer = await verifier.verifyKey({ apiKey: change(apiKey) });
    expect(answer).toMatchObject({ valid: false, verdict: Verdict.INVALID });
    expect(answer.key).toBeUndefined();
    expect(answer.freshness).toBeUndefined();
  });

  it("answers INVALID to a service credential, and to a key of another environment", async () => {
    const { apiKey } = await service.newKey();
    expect(await verdictOf({ apiKey: service.admin })).toBe("INVALID");
    expect(await verdictOf({ apiKey, environment: "test" })).toBe("INVALID");
    expect(await verdictOf({ apiKey, environment: "live" })).toBe("VALID");
    // The same holds while the key is in memory.
    expect(await verdictOf({ apiKey, environment: "test" })).toBe("INVALID");
    const [inBatch] = (await verifier.batchVerifyKeys({ requests: [{ apiKey, environment: "test" }] })).results;
    expect(inBatch?.outcome.value).toMatchObject({ valid: false, verdict: Verdict.INVALID });
  });

  it("tells the state of an ended key to a caller with the whole secret, and INVALID once it is deleted", async () => {
    const { apiKey, key, person } = await service.newKey();
    await person.keys.disableKey({ keyId: key!.id });
    expect(await verdictOf({ apiKey })).toBe("DISABLED");
    await person.keys.enableKey({ keyId: key!.id });
    expect(await verdictOf({ apiKey })).toBe("VALID");
    await person.keys.revokeKey({ keyId: key!.id });
    expect(await verdictOf({ apiKey })).toBe("REVOKED");
    await person.keys.deleteKey({ keyId: key!.id });
    expect(await verdictOf({ apiKey })).toBe("INVALID");
  });

  it("expires a key at its time, also while its record is in memory", async () => {
    const end = service.clock.nowMs() + 3000;
    const { apiKey } = await service.newKey({ expireTime: timestampFromMs(end) });
    const before = await verifier.verifyKey({ apiKey });
    expect([before.verdict, before.key?.state]).toEqual([Verdict.VALID, Key_State.ACTIVE]);
    service.clock.advance(3500);
    const after = await verifier.verifyKey({ apiKey });
    expect([after.verdict, after.key?.state]).toEqual([Verdict.EXPIRED, Key_State.EXPIRED]);
  });

  it("answers OWNER_DISABLED for keys of a disabled owner, and VALID again once the owner is enabled", async () => {
    const { apiKey, person } = await service.newKey();
    expect(await verdictOf({ apiKey })).toBe("VALID");
    await admin.disableUser({ userId: person.user.id });
    expect(await verdictOf({ apiKey })).toBe("OWNER_DISABLED");
    await admin.enableUser({ userId: person.user.id });
    expect(await verdictOf({ apiKey })).toBe("VALID");
  });

  it("applies the lower of the key's tier and the owner's grant, at each call", async () => {
    const { person } = await service.newKey();
    const userId = person.user.id;
    await admin.updateUser({ user: { id: userId, tier: "pro" }, updateMask: { paths: ["tier"] } });
    const { apiKey } = await person.keys.issueKey({ name: "pro key", tier: "pro" });
    expect((await verifier.verifyKey({ apiKey, allowedTiers: ["pro"] })).rateLimits[0]?.limit).toBe(60);
    await admin.updateUser({ user: { id: userId, tier: "basic" }, updateMask: { paths: ["tier"] } });
    expect(await verdictOf({ apiKey, allowedTiers: ["pro", "enterprise"] })).toBe("TIER_NOT_ALLOWED");
    const { key, rateLimits } = await verifier.verifyKey({ apiKey, allowedTiers: ["basic"] });
    expect(rateLimits[0]?.limit).toBe(20);
    const judged = { tier: "pro", effectiveTier: "basic", effectiveLimits: { perMinute: 20, perDay: 1000 } };
    expect(key).toMatchObject(judged);
    expect((await person.keys.getKey({ keyId: key!.id })).key).toMatchObject(judged);
  });

  it("accepts only scopes that both the key and its owner have", async () => {
    const { apiKey, person } = await service.newKey({ scopes: ["orders:read", "orders:write"] });
    expect(await verdictOf({ apiKey, requiredScopes: ["orders:read", "orders:write"] })).toBe("VALID");
    expect(await verdictOf({ apiKey, requiredScopes: ["orders:delete"] })).toBe("SCOPE_MISSING");
    const user = { id: person.user.id, scopes: ["*:read"] };
    await admin.updateUser({ user, updateMask: { paths: ["scopes"] } });
    expect(await verdictOf({ apiKey, requiredScopes: ["orders:read"] })).toBe("VALID");
    expect(await verdictOf({ apiKey, requiredScopes: ["orders:write"] })).toBe("SCOPE_MISSING");
    const { key } = await verifier.verifyKey({ apiKey });
    const judged = { scopes: ["orders:read", "orders:write"], effectiveScopes: ["orders:read"] };
    expect(key).toMatchObject(judged);
    expect((await person.keys.listKeys({})).keys[0]).toMatchObject(judged);
  });

  it("says by near_rules which answers a client may keep", async () => {
    const { apiKey } = await service.newKey();
    const nearRules = async (request: Parameters<typeof verifier.verifyKey>[0]) =>
      (await verifier.verifyKey(request)).nearRules;
    expect(await nearRules({ apiKey })).toBe(1);
    const unchecked = `${apiKey.slice(0, 30)}${apiKey[30] === "a" ? "b" : "a"}${apiKey.slice(31, -6)}`;
    const otherSecret = unchecked + checksum62(unchecked);
    expect(await verifier.verifyKey({ apiKey: otherSecret })).toMatchObject({ verdict: Verdict.INVALID, nearRules: 1 });
    expect(await nearRules({ apiKey: "junk" })).toBe(0);
    expect(await nearRules({ apiKey, environment: "test" })).toBe(0);
    const { freshness } = await verifier.verifyKey({ apiKey });
    expect(durationMs(freshness!.age!)).toBeLessThan(5_000);
    expect(freshness!.serveTime!.seconds).toBeGreaterThanOrEqual(freshness!.asOfTime!.seconds);
  });

  it("sends Retry-After in whole seconds with a refusal, and none with a valid key", async () => {
    const { apiKey } = await service.newKey();
    const seen: (string | null)[] = [];
    const onHeader = (headers: Headers) => void seen.push(headers.get("retry-after"));
    await verifier.verifyKey({ apiKey, cost: 20 }, { onHeader });
    const refused = await verifier.verifyKey({ apiKey }, { onHeader });
    const checked = await verifier.checkRateLimit({ subject: { case: "keyId", value: refused.key!.id } }, { onHeader });
    const seconds = [refused, checked].map(({ retryAfter }) =>
      String(Number(retryAfter!.seconds) + Math.ceil(retryAfter!.nanos / 1e9)),
    );
    expect(seen).toEqual([null, ...seconds]);
  });

  it("fails closed on allow-lists of networks and methods", async () => {
    const { apiKey } = await service.newKey({
      allowedIps: ["192.0.2.0/24", "2001:db8::/32"],
      allowedMethods: ["/shop.v1.Orders/Get*", "/shop.v1.Carts/**"],
    });
    const method = "/shop.v1.Orders/GetOrder";
    expect(await verdictOf({ apiKey, method })).toBe("IP_NOT_ALLOWED");
    expect(await verdictOf({ apiKey, method, clientIp: "198.51.100.1" })).toBe("IP_NOT_ALLOWED");
    expect(await verdictOf({ apiKey, method, clientIp: "::ffff:192.0.2.7" })).toBe("VALID");
    expect(await verdictOf({ apiKey, method, clientIp: "2001:db8:1::1" })).toBe("VALID");
    expect(await verdictOf({ apiKey, clientIp: "192.0.2.7" })).toBe("METHOD_NOT_ALLOWED");
    expect(await verdictOf({ apiKey, clientIp: "192.0.2.7", method: "/shop.v1.Orders/PutOrder" })).toBe(
      "METHOD_NOT_ALLOWED",
    );
    expect(await verdictOf({ apiKey, clientIp: "192.0.2.7", method: "/shop.v1.Carts/a/b" })).toBe("VALID");
    expect(await verdictOf({ apiKey, clientIp: "192.0.2.7", method: "/shop.v1.Carts/../Orders/Get" })).toBe(
      "METHOD_NOT_ALLOWED",
    );
  });

  it("charges nothing for a call that it refuses", async () => {
    const { apiKey } = await service.newKey();
    for (let n = 0; n < 5; n++) expect(await verdictOf({ apiKey, requiredScopes: ["none"] })).toBe("SCOPE_MISSING");
    expect((await verifier.verifyKey({ apiKey })).rateLimits[0]?.remaining).toBe(19);
  });

  it("refuses a cost above the key's own limit without a retry time, and one above the caller's limit as invalid", async () => {
    const { apiKey } = await service.newKey();
    const refused = await verifier.verifyKey({ apiKey, cost: 21 });
    expect(refused.verdict).toBe(Verdict.RATE_LIMITED);
    expect(refused.retryAfter).toBeUndefined();
    await expect(
      verifier.verifyKey({ apiKey, cost: 3, limits: [{ name: "exports", perMinute: 2 }] }),
    ).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
  });

  it("counts named limits per key besides the key's own, all or nothing", async () => {
    const { apiKey } = await service.newKey();
    const limits = [{ name: "exports", perMinute: 2 }];
    expect(await verdictOf({ apiKey, limits })).toBe("VALID");
    expect(await verdictOf({ apiKey, limits })).toBe("VALID");
    const refused = await verifier.verifyKey({ apiKey, limits });
    expect(refused.verdict).toBe(Verdict.RATE_LIMITED);
    expect(refused.rateLimits.map(({ name, remaining }) => [name, remaining])).toEqual([
      ["", 18],
      ["", 998],
      ["exports", 0],
    ]);
    expect(await verdictOf({ apiKey })).toBe("VALID");
  });

  it("accepts old and new secret during a rotation's overlap, and says when the old one ends", async () => {
    const { apiKey, key, person } = await service.newKey();
    const rotated = await person.keys.rotateKey({ keyId: key!.id, overlap: { seconds: 60n } });
    expect(rotated.key?.id).toBe(key!.id);
    expect((await verifier.verifyKey({ apiKey: rotated.apiKey })).secretExpireTime).toBeUndefined();
    const old = await verifier.verifyKey({ apiKey });
    expect(old.valid).toBe(true);
    const endMs = Number(old.secretExpireTime!.seconds) * 1000;
    expect(Math.abs(endMs - service.clock.nowMs() - 60_000)).toBeLessThan(5000);
    service.clock.advance(61_000);
    expect(await verdictOf({ apiKey })).toBe("EXPIRED");
    expect(await verdictOf({ apiKey: rotated.apiKey })).toBe("VALID");
  });

  it("applies the limits that a service set instead of the tier's", async () => {
    const { person } = await service.newKey();
    const { apiKey } = await manager.issueKey({ name: "mine", ownerId: person.user.id, limits: { perMinute: 1 } });
    const first = await verifier.verifyKey({ apiKey });
    expect(first.rateLimits.map(({ limit }) => limit)).toEqual([1, 1000]);
    expect(await verdictOf({ apiKey })).toBe("RATE_LIMITED");
  });

  it.each([
    ["client_ip", { clientIp: "300.1.1.1" }],
    ["client_ip", { clientIp: "fe80::1%eth0" }],
    ["cost", { cost: -1 }],
    ["limits[0].name", { limits: [{ name: "Not Allowed", perMinute: 1 }] }],
    ["limits", { limits: Array.from({ length: 9 }, (_, n) => ({ name: `n${n}`, perMinute: 1 })) }],
    ["limits[1].name", { limits: [{ name: "same" }, { name: "same" }] }],
    ["limits[0].per_day", { limits: [{ name: "n", perDay: -1 }] }],
    ["required_scopes[0]", { requiredScopes: ["with space"] }],
  ])("refuses a malformed %s as INVALID_ARGUMENT, whatever the key is", async (field, request) => {
    await expect(verifier.verifyKey({ apiKey: "no key at all", ...request })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(field),
    });
  });
});
