import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Key_State } from "../../src/gen/latchkey/v1/key_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { type Person, startTestService, type TestService } from "../support/in-process-service.ts";

describe("IssueKey", () => {
  let service: TestService;
  let person: Person;
  let manager: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService({ LATCHKEY_KEYS_PER_OWNER: "40" });
    person = await service.newPerson();
    manager = service.client(KeyService, await service.newCredential("manage"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  it("returns the key as it is stored, and the raw key, which no other answer has", async () => {
    const expireTime = timestampFromMs(service.clock.nowMs() + 86_400_000);
    const wanted = {
      name: "ci · 構築",
      description: "two\nlines",
      scopes: ["orders:read"],
      metadata: { team: "shop" },
      allowedIps: ["192.0.2.0/24"],
      allowedMethods: ["/shop.v1.Orders/*"],
      environment: "test",
      expireTime,
    };
    const { key, apiKey } = await person.keys.issueKey(wanted);
    expect(apiKey).toMatch(/^kit_test_[0-9A-Za-z]{65}$/);
    expect(key).toMatchObject({
      ...wanted,
      id: `key_${apiKey.slice(9, 25)}`,
      prefix: apiKey.slice(0, 12),
      ownerId: person.user.id,
      issuerId: person.user.id,
      tier: "basic",
      state: Key_State.ACTIVE,
      effectiveLimits: { perMinute: 20, perDay: 1000 },
    });
    expect(key?.limits).toBeUndefined();
    expect(await person.keys.getKey({ keyId: key!.id })).toMatchObject({ key });
    const shown = JSON.stringify(await person.keys.listKeys({}), (_, value) => (typeof value === "bigint" ? 0 : value));
    expect(shown).not.toContain(apiKey.slice(25));
  });

  it.each([
    ["name", { name: "" }],
    ["name", { name: "x".repeat(65) }],
    ["name", { name: "a\0b" }],
    ["name", { name: "line\nbreak" }],
    ["description", { description: "x".repeat(1025) }],
    ["tier", { tier: "platinum" }],
    ["scopes[0]", { scopes: ["with space"] }],
    ["scopes", { scopes: Array.from({ length: 65 }, (_, n) => `s${n}`) }],
    ["expire_time", { expireTime: timestampFromMs(Date.now() - 1000) }],
    ["expire_time", { expireTime: timestampFromMs(Date.now() + 11 * 365.25 * 86_400_000) }],
    ["expire_time", { expireTime: { seconds: 9n ** 15n } }],
    ["expire_time", { expireTime: { seconds: 4_000_000_000n, nanos: -1 } }],
    ["allowed_ips[0]", { allowedIps: ["192.0.2.1/24"] }],
    ["allowed_ips[1]", { allowedIps: ["192.0.2.1", "nonsense"] }],
    ["allowed_methods[0]", { allowedMethods: ["/a/**/b"] }],
    ["environment", { environment: "prod" }],
    ["environment", { environment: "svc" }],
    ["metadata", { metadata: { "": "x" } }],
    ['metadata["a"]', { metadata: { a: "x".repeat(513) } }],
    ["request_id", { requestId: "not-a-uuid" }],
  ])("names the field %s if it is wrong", async (field, request) => {
    const error = await errorOf(person.keys.issueKey({ name: "good", ...request }));
    expect(error).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_FIELD", fields: [field] });
  });

  it("accepts 12 KiB of texts in all, scopes counted twice, and names the heaviest field of a request with more", async () => {
    const full = {
      name: "a",
      metadata: Object.fromEntries(Array.from({ length: 5 }, (_, n) => [`${n}`, "😀".repeat(512)])),
    };
    const left = 12_288 - 1 - 5 * (1 + 4 * 512);
    const scopes = Array.from({ length: 7 }, (_, n) => `${n}`.padStart(128, "s"));
    const description = "d".repeat(left - 2 * 7 * 128);
    const { key } = await person.keys.issueKey({ ...full, scopes, description });
    expect(key?.description).toBe(description);
    const heavier = { ...full, scopes, description: `${description}d` };
    expect((await errorOf(person.keys.issueKey(heavier))).fields).toEqual(["metadata"]);
    const update = (paths: string[], fields: object) =>
      person.keys.updateKey({ key: { id: key!.id, ...fields }, updateMask: { paths } });
    const allowedMethods = Array.from({ length: 64 }, (_, n) => `/${n}`.padEnd(256, "m"));
    for (const [paths, fields, named] of [
      [["name"], { name: "ab" }, "key.metadata"],
      [["allowed_methods"], { allowedMethods }, "key.allowed_methods"],
    ] as const) {
      expect(await errorOf(update([...paths], fields))).toMatchObject({ code: Code.InvalidArgument, fields: [named] });
    }
    await update(["description", "name"], { description: "", name: "ab" });
  });

  it("names all faulty fields at once", async () => {
    const error = await errorOf(person.keys.issueKey({ name: "", scopes: ["a b"], allowedIps: ["x"] }));
    expect(error.fields).toEqual(["name", "scopes[0]", "allowed_ips[0]"]);
  });

  it("lets users issue keys only for themselves, within their grants, and without own limits", async () => {
    const other = await service.newPerson();
    const denied = async (request: Parameters<typeof person.keys.issueKey>[0]) => {
      const { code, reason } = await errorOf(person.keys.issueKey({ name: "k", ...request }));
      expect(code).toBe(Code.PermissionDenied);
      return reason;
    };
    expect(await denied({ ownerId: other.user.id })).toBe("OWNER_NOT_ALLOWED");
    expect(await denied({ ownerId: "usr_AAAAAAAAAAAAAAAA" })).toBe("OWNER_NOT_ALLOWED");
    expect(await denied({ tier: "pro" })).toBe("TIER_NOT_GRANTED");
    expect(await denied({ limits: { perMinute: 1 } })).toBe("FIELD_NOT_ALLOWED");
    expect(await denied({ limits: {} })).toBe("FIELD_NOT_ALLOWED");
    const admin = service.client(AdminService, service.admin);
    const user = { id: person.user.id, scopes: ["orders:*"] };
    await admin.updateUser({ user, updateMask: { paths: ["scopes"] } });
    expect(await denied({ scopes: ["orders:read", "carts:read"] })).toBe("SCOPE_NOT_GRANTED");
    await admin.updateUser({ user: { ...user, scopes: ["*"] }, updateMask: { paths: ["scopes"] } });
    expect((await person.keys.issueKey({ name: "own id", ownerId: person.user.id })).key?.ownerId).toBe(person.user.id);
  });

  it("requires an owner from services, and tells them whether it exists", async () => {
    expect(await errorOf(manager.issueKey({ name: "k" }))).toMatchObject({
      code: Code.InvalidArgument,
      fields: ["owner_id"],
    });
    for (const ownerId of ["usr_AAAAAAAAAAAAAAAA", "nonsense"]) {
      expect(await errorOf(manager.issueKey({ name: "k", ownerId }))).toMatchObject({
        code: Code.NotFound,
        reason: "USER_NOT_FOUND",
      });
    }
    const tooHigh = await errorOf(manager.issueKey({ name: "k", ownerId: person.user.id, tier: "pro" }));
    expect(tooHigh.code).toBe(Code.PermissionDenied);
    const { key } = await manager.issueKey({ name: "k", ownerId: person.user.id, limits: { perDay: 7 } });
    expect(key).toMatchObject({ limits: { perDay: 7 }, effectiveLimits: { perMinute: 20, perDay: 7 } });
    expect(key?.issuerId).toMatch(/^svc_/);
  });

  it("restricts a key for its owner from the start if a service issues it", async () => {
    const { key } = await manager.issueKey({ name: "k", ownerId: person.user.id, allowedIps: ["192.0.2.0/24"] });
    const widen = person.keys.updateKey({ key: { id: key!.id }, updateMask: { paths: ["allowed_ips"] } });
    expect(await errorOf(widen)).toMatchObject({ code: Code.PermissionDenied, reason: "KEY_RESTRICTED" });
  });

  it("gives the lowest tier to a request without a tier, whatever the owner's grant is", async () => {
    const granted = await service.newPerson();
    const user = { id: granted.user.id, tier: "pro" };
    await service.client(AdminService, service.admin).updateUser({ user, updateMask: { paths: ["tier"] } });
    expect((await granted.keys.issueKey({ name: "k" })).key?.tier).toBe("basic");
    expect((await granted.keys.issueKey({ name: "k", tier: "pro" })).key?.tier).toBe("pro");
  });

  it("refuses a limit below 0, which stores would read as no limit", async () => {
    for (const limits of [{ perMinute: -1 }, { perDay: -1 }]) {
      const error = await errorOf(manager.issueKey({ name: "k", ownerId: person.user.id, limits }));
      expect(error).toMatchObject({ reason: "INVALID_FIELD", fields: [expect.stringMatching(/^limits\.per_/)] });
    }
  });

  it("recognises a repeated request whatever the order of its metadata", async () => {
    const requestId = crypto.randomUUID();
    await person.keys.issueKey({ name: "k", requestId, metadata: { a: "1", b: "2" } });
    const again = await errorOf(person.keys.issueKey({ name: "k", requestId, metadata: { b: "2", a: "1" } }));
    expect(again.reason).toBe("REQUEST_ID_USED");
  });

  it("issues one key for one request_id, and never shows its secret again", async () => {
    const requestId = crypto.randomUUID();
    const { key } = await person.keys.issueKey({ name: "once", requestId });
    const again = await errorOf(person.keys.issueKey({ name: "once", requestId: requestId.toUpperCase() }));
    expect(again).toMatchObject({ code: Code.AlreadyExists, reason: "REQUEST_ID_USED", metadata: { key_id: key!.id } });
    const other = await errorOf(person.keys.issueKey({ name: "another", requestId }));
    expect(other).toMatchObject({ code: Code.InvalidArgument, reason: "REQUEST_ID_REUSED", fields: ["request_id"] });
    const stranger = await service.newPerson();
    expect((await stranger.keys.issueKey({ name: "once", requestId })).key?.id).not.toBe(key!.id);
  });

  it("recognises a repeated request with every field set", async () => {
    const manager = service.client(KeyService, await service.newCredential("manage"));
    const request = {
      name: "whole",
      description: "every field",
      tier: "basic",
      scopes: ["orders:read"],
      expireTime: timestampFromMs(service.clock.nowMs() + 3_600_000),
      metadata: { team: "shop", cost: "7" },
      environment: "test",
      ownerId: person.user.id,
      limits: { perMinute: 5, perDay: 50 },
      allowedIps: ["192.0.2.0/24"],
      allowedMethods: ["/shop.v1.Orders/*"],
      requestId: crypto.randomUUID(),
    };
    expect(Object.keys(request).sort()).toEqual(
      KeyService.method.issueKey.input.fields.map((field) => field.localName).sort(),
    );
    const { key } = await manager.issueKey(request);
    const again = await errorOf(manager.issueKey({ ...request, metadata: { cost: "7", team: "shop" } }));
    expect(again).toMatchObject({ reason: "REQUEST_ID_USED", metadata: { key_id: key!.id } });
    for (const change of [
      { expireTime: timestampFromMs(service.clock.nowMs() + 7_200_000) },
      { limits: { perMinute: 5 } },
    ]) {
      expect(await errorOf(manager.issueKey({ ...request, ...change }))).toMatchObject({ reason: "REQUEST_ID_REUSED" });
    }
  });

  it("enforces an owner's quota, also for calls at the same moment", async () => {
    const { keys } = await service.newPerson();
    const calls = Array.from({ length: 45 }, () =>
      keys.issueKey({ name: "k" }).then(
        () => "ok",
        () => "refused",
      ),
    );
    const outcomes = await Promise.all(calls);
    expect(outcomes.filter((outcome) => outcome === "ok")).toHaveLength(40);
    const error = await errorOf(keys.issueKey({ name: "k" }));
    expect(error).toMatchObject({ code: Code.ResourceExhausted, reason: "KEY_QUOTA_EXCEEDED", hasRetryInfo: false });
  });
});
