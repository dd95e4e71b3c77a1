import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { Key_State } from "../../src/gen/latchkey/v1/key_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("the management of keys", () => {
  let service: TestService;
  let manager: Client<typeof KeyService>;
  beforeAll(async () => {
    service = await startTestService();
    manager = service.client(KeyService, await service.newCredential("manage"));
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const NOT_FOUND = { code: Code.NotFound, reason: "KEY_NOT_FOUND", message: "no such key" };

  it("gives the same answer to an unknown, a foreign, a deleted and a malformed id, in every RPC", async () => {
    const { key, person } = await service.newKey();
    const stranger = await service.newPerson();
    const gone = (await person.keys.issueKey({ name: "gone" })).key!.id;
    await person.keys.deleteKey({ keyId: gone });
    const answers = new Set<string>();
    for (const [keys, id] of [
      [stranger.keys, key!.id],
      [stranger.keys, "key_AAAAAAAAAAAAAAAA"],
      [stranger.keys, "nonsense"],
      [stranger.keys, ""],
      [person.keys, gone],
      [manager, gone],
    ] as const) {
      const calls = [
        keys.getKey({ keyId: id }),
        keys.disableKey({ keyId: id }),
        keys.enableKey({ keyId: id }),
        keys.rotateKey({ keyId: id }),
        keys.revokeKey({ keyId: id }),
        keys.deleteKey({ keyId: id }),
      ];
      for (const answer of await Promise.all(calls.map(errorOf))) answers.add(JSON.stringify(answer));
    }
    expect([...answers].map((answer) => JSON.parse(answer))).toEqual([expect.objectContaining(NOT_FOUND)]);
  });

  it("lists a user's own keys, and for a service the keys of one owner or of all", async () => {
    const { key, person } = await service.newKey();
    await service.newKey();
    const ids = async (list: Promise<{ keys: { id: string }[] }>) => (await list).keys.map(({ id }) => id);
    expect(await ids(person.keys.listKeys({}))).toEqual([key!.id]);
    expect(await ids(manager.listKeys({ ownerId: person.user.id }))).toEqual([key!.id]);
    expect((await manager.listKeys({})).totalSize).toBeGreaterThan(1);
    const foreign = await errorOf(person.keys.listKeys({ ownerId: "usr_AAAAAAAAAAAAAAAA" }));
    expect(foreign).toMatchObject({ code: Code.PermissionDenied });
  });

  it("hides ended keys unless the request asks for them", async () => {
    const { key, person } = await service.newKey();
    await person.keys.revokeKey({ keyId: key!.id });
    expect((await person.keys.listKeys({})).keys).toEqual([]);
    expect((await person.keys.listKeys({ showEnded: true })).keys.map(({ state }) => state)).toEqual([
      Key_State.REVOKED,
    ]);
  });

  it("lists pages newest first, with page tokens for one list and one caller only", async () => {
    const person = await service.newPerson();
    const made: string[] = [];
    for (let n = 0; n < 5; n++) made.unshift((await person.keys.issueKey({ name: `k${n}` })).key!.id);
    const first = await person.keys.listKeys({ pageSize: 2 });
    const second = await person.keys.listKeys({ pageSize: 2, pageToken: first.nextPageToken });
    const third = await person.keys.listKeys({ pageSize: 2, pageToken: second.nextPageToken });
    expect([...first.keys, ...second.keys, ...third.keys].map(({ id }) => id)).toEqual(made);
    expect(third.nextPageToken).toBe("");
    expect(first.totalSize).toBe(5);

    const token = first.nextPageToken;
    const stranger = await service.newPerson();
    for (const [keys, request] of [
      [person.keys, { pageToken: "forged" }],
      [person.keys, { pageToken: `${token}x` }],
      [person.keys, { pageToken: token.slice(0, -2) + (token.endsWith("AA") ? "BB" : "AA") }],
      [person.keys, { pageToken: token, showEnded: true }],
      [stranger.keys, { pageToken: token }],
      [manager, { pageToken: token, ownerId: person.user.id }],
    ] as const) {
      expect(await errorOf(keys.listKeys(request))).toMatchObject({
        code: Code.InvalidArgument,
        fields: ["page_token"],
      });
    }
    expect(await errorOf(person.keys.listKeys({ pageSize: -1 }))).toMatchObject({ fields: ["page_size"] });
    expect((await person.keys.listKeys({ pageSize: 100_000 })).keys).toHaveLength(5);
  });

  it("updates exactly the fields of the mask", async () => {
    const { key, person } = await service.newKey({ name: "before", scopes: ["a"], description: "stays" });
    const { key: updated } = await person.keys.updateKey({
      key: { id: key!.id, name: "after", scopes: ["b", "c"], description: "not in the mask" },
      updateMask: { paths: ["name", "scopes"] },
    });
    expect(updated).toMatchObject({ name: "after", scopes: ["b", "c"], description: "stays" });
    expect(updated?.etag).not.toBe(key!.etag);
    const paths = ["scopes", "expire_time", "metadata", "allowed_ips", "allowed_methods", "description"];
    const cleared = await person.keys.updateKey({ key: { id: key!.id }, updateMask: { paths } });
    expect(cleared.key).toMatchObject({ scopes: [], description: "", metadata: {}, allowedIps: [] });
    expect(cleared.key?.expireTime).toBeUndefined();
  });

  it("updates without a mask the fields that have a value (AIP-134)", async () => {
    const { key, person } = await service.newKey({ name: "before", scopes: ["a"], description: "stays" });
    for (const more of [{}, { updateMask: { paths: [] } }]) {
      const { key: updated } = await person.keys.updateKey({ key: { id: key!.id, name: "after" }, ...more });
      expect(updated).toMatchObject({ name: "after", scopes: ["a"], description: "stays" });
    }
    const nothing = await errorOf(person.keys.updateKey({ key: { id: key!.id } }));
    expect(nothing).toMatchObject({ code: Code.InvalidArgument, fields: ["update_mask"] });
    const tier = await errorOf(person.keys.updateKey({ key: { id: key!.id, name: "x", tier: "enterprise" } }));
    expect(tier).toMatchObject({ code: Code.PermissionDenied, reason: "FIELD_NOT_ALLOWED" });
  });

  it.each([[["nonsense"]], [["id"]], [["state"]], [["name", "create_time"]], [["limits.per_minute"]], [["*"]]])(
    "refuses the mask %j",
    async (paths) => {
      const { key, person } = await service.newKey();
      const error = await errorOf(person.keys.updateKey({ key: { id: key!.id, name: "x" }, updateMask: { paths } }));
      expect(error).toMatchObject({ code: Code.InvalidArgument, fields: ["update_mask"] });
    },
  );

  it("updates only if the etag is current, and is ABORTED if the key has changed", async () => {
    const { key, person } = await service.newKey();
    const update = (etag: string, name: string) =>
      person.keys.updateKey({ key: { id: key!.id, name, etag }, updateMask: { paths: ["name"] } });
    await update(key!.etag, "first");
    expect(await errorOf(update(key!.etag, "second"))).toMatchObject({ code: Code.Aborted, reason: "ETAG_MISMATCH" });
    expect((await update("", "third")).key?.name).toBe("third");
  });

  it("refuses changes of ended keys", async () => {
    const { key, person } = await service.newKey();
    const rotation = { keyId: key!.id, requestId: crypto.randomUUID() };
    await person.keys.rotateKey(rotation);
    await person.keys.revokeKey({ keyId: key!.id });
    const ended = { code: Code.FailedPrecondition, reason: "KEY_ENDED" };
    const update = person.keys.updateKey({ key: { id: key!.id, name: "x" }, updateMask: { paths: ["name"] } });
    expect(await errorOf(update)).toMatchObject(ended);
    expect(await errorOf(person.keys.rotateKey({ keyId: key!.id }))).toMatchObject(ended);
    expect(await errorOf(person.keys.enableKey({ keyId: key!.id }))).toMatchObject(ended);
    // A retry of an earlier rotation is still recognised, although the key has ended.
    expect(await errorOf(person.keys.rotateKey(rotation))).toMatchObject({ reason: "REQUEST_ID_USED" });
    const soon = await person.keys.issueKey({ name: "s", expireTime: timestampFromMs(service.clock.nowMs() + 2000) });
    service.clock.advance(10_000);
    expect(await errorOf(person.keys.rotateKey({ keyId: soon.key!.id }))).toMatchObject(ended);
  });

  it("reserves limits and tier for services, and lets an owner only tighten what a service restricted", async () => {
    const { key, person } = await service.newKey({ scopes: ["a", "b"] });
    const keyId = key!.id;
    const update = (fields: object, ...paths: string[]) =>
      person.keys.updateKey({ key: { id: keyId, ...fields }, updateMask: { paths } });
    for (const field of ["tier", "limits"]) {
      expect(await errorOf(update({ tier: "basic" }, field))).toMatchObject({ reason: "FIELD_NOT_ALLOWED" });
    }
    expect((await update({ scopes: ["a"] }, "scopes")).key?.scopes).toEqual(["a"]);

    await manager.updateKey({ key: { id: keyId, limits: { perMinute: 3 } }, updateMask: { paths: ["limits"] } });
    const restricted = { code: Code.PermissionDenied, reason: "KEY_RESTRICTED" };
    for (const field of ["scopes", "allowed_ips", "allowed_methods"]) {
      expect(await errorOf(update({}, field))).toMatchObject(restricted);
    }
    const inAnHour = timestampFromMs(service.clock.nowMs() + 3_600_000);
    const inTwo = timestampFromMs(service.clock.nowMs() + 7_200_000);
    expect((await update({ expireTime: inAnHour, name: "n" }, "expire_time", "name")).key?.name).toBe("n");
    expect(await errorOf(update({ expireTime: inTwo }, "expire_time"))).toMatchObject(restricted);
    expect(await errorOf(update({}, "expire_time"))).toMatchObject(restricted);
    expect((await person.keys.rotateKey({ keyId })).key?.limits?.perMinute).toBe(3);
  });

  it.each([
    ["scopes", { scopes: ["a"] }],
    ["allowed_ips", { allowedIps: ["192.0.2.0/24"] }],
    ["allowed_methods", { allowedMethods: ["/shop/**"] }],
    ["expire_time", { expireTime: timestampFromMs(Date.now() + 3_600_000) }],
    ["tier", { tier: "basic" }],
  ])("restricts a key for its owner after a service set %s, but not after it set the name", async (path, fields) => {
    const { key, person } = await service.newKey({ scopes: ["a", "b"] });
    const own = () => person.keys.updateKey({ key: { id: key!.id }, updateMask: { paths: ["allowed_ips"] } });
    await manager.updateKey({ key: { id: key!.id, name: "theirs" }, updateMask: { paths: ["name"] } });
    await own();
    await manager.updateKey({ key: { id: key!.id, ...fields }, updateMask: { paths: [path] } });
    expect(await errorOf(own())).toMatchObject({ code: Code.PermissionDenied, reason: "KEY_RESTRICTED" });
  });

  it("updates tier and scopes only within the owner's grants, for every caller, and only to valid values", async () => {
    const { key, person } = await service.newKey();
    const admin = service.client(AdminService, service.admin);
    await admin.updateUser({ user: { id: person.user.id, scopes: ["a:*"] }, updateMask: { paths: ["scopes"] } });
    const refusal = async (fields: object, path: string) =>
      (await errorOf(manager.updateKey({ key: { id: key!.id, ...fields }, updateMask: { paths: [path] } }))).reason;
    expect(await refusal({ tier: "pro" }, "tier")).toBe("TIER_NOT_GRANTED");
    expect(await refusal({ tier: "platinum" }, "tier")).toBe("INVALID_FIELD");
    expect(await refusal({ scopes: ["a:read", "b:read"] }, "scopes")).toBe("SCOPE_NOT_GRANTED");
    expect(await refusal({ limits: { perDay: -1 } }, "limits")).toBe("INVALID_FIELD");
    expect(await refusal({ allowedIps: ["192.0.2.1/24"] }, "allowed_ips")).toBe("INVALID_FIELD");
  });

  it("lets only a service enable what a service disabled, even if the owner disabled it first", async () => {
    const { key, person } = await service.newKey();
    const keyId = key!.id;
    const own = await person.keys.disableKey({ keyId });
    expect(own.key).toMatchObject({ state: Key_State.DISABLED, disabledBy: person.user.id });
    expect((await person.keys.disableKey({ keyId })).key?.etag).toBe(own.key?.etag);
    await manager.disableKey({ keyId });
    expect(await errorOf(person.keys.enableKey({ keyId }))).toMatchObject({ reason: "KEY_RESTRICTED" });
    expect((await person.keys.disableKey({ keyId })).key?.disabledBy).toMatch(/^svc_/);
    expect((await manager.enableKey({ keyId })).key).toMatchObject({ state: Key_State.ACTIVE, disabledBy: "" });
  });

  it("revokes once, and a second call is OK and changes nothing, not even the time", async () => {
    const { key, person } = await service.newKey();
    const first = await person.keys.revokeKey({ keyId: key!.id, reason: "lost" });
    service.clock.advance(5000);
    const second = await person.keys.revokeKey({ keyId: key!.id, reason: "again" });
    expect(second).toEqual(first);
    expect(first.key?.revokeTime).toBeDefined();
    const badReason = await errorOf(person.keys.revokeKey({ keyId: key!.id, reason: "x".repeat(257) }));
    expect(badReason.fields).toEqual(["reason"]);
  });

  it("rotates under one id, ends older secrets at once with overlap 0, and refuses a ninth live secret", async () => {
    const { key, person } = await service.newKey();
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    const keyId = key!.id;
    const secrets: string[] = [];
    for (let n = 0; n < 7; n++) secrets.push((await person.keys.rotateKey({ keyId })).apiKey);
    expect(await errorOf(person.keys.rotateKey({ keyId }))).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "SECRET_QUOTA_EXCEEDED",
    });
    for (const apiKey of secrets) expect((await verifier.verifyKey({ apiKey })).valid).toBe(true);
    const last = await person.keys.rotateKey({ keyId, overlap: { seconds: 0n } });
    for (const apiKey of secrets) expect((await verifier.verifyKey({ apiKey })).valid).toBe(false);
    expect((await verifier.verifyKey({ apiKey: last.apiKey })).valid).toBe(true);
  });

  it("rotates with an overlap of 24 h if the request names none", async () => {
    const { apiKey, key, person } = await service.newKey();
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    await person.keys.rotateKey({ keyId: key!.id });
    service.clock.advance(86_400_000 - 60_000);
    expect((await verifier.verifyKey({ apiKey })).verdict).toBe(Verdict.VALID);
    service.clock.advance(120_000);
    expect((await verifier.verifyKey({ apiKey })).verdict).toBe(Verdict.EXPIRED);
  });

  it("rotates once for one request_id, and accepts an overlap of 0 to 7 days", async () => {
    const { key, person } = await service.newKey();
    const keyId = key!.id;
    for (const overlap of [{ seconds: -1n }, { seconds: 604_801n }, { seconds: 1n, nanos: -5 }]) {
      expect((await errorOf(person.keys.rotateKey({ keyId, overlap }))).fields).toEqual(["overlap"]);
    }
    await person.keys.rotateKey({ keyId, overlap: { seconds: 604_800n } });
    expect((await errorOf(person.keys.rotateKey({ keyId, requestId: "x" }))).fields).toEqual(["request_id"]);
    const requestId = crypto.randomUUID();
    await person.keys.rotateKey({ keyId, requestId });
    const again = await errorOf(person.keys.rotateKey({ keyId, requestId }));
    expect(again).toMatchObject({ code: Code.AlreadyExists, metadata: { key_id: keyId } });
    const other = await person.keys.issueKey({ name: "another" });
    // One after another, because a rejection that is not yet awaited would end the run.
    for (const wish of [
      () => person.keys.issueKey({ name: "k", requestId }),
      () => person.keys.rotateKey({ keyId, requestId, overlap: { seconds: 0n } }),
      () => person.keys.rotateKey({ keyId: other.key!.id, requestId }),
    ]) {
      expect((await errorOf(wish())).reason).toBe("REQUEST_ID_REUSED");
    }
  });

  it("shows when a key was last used, after its use was written", async () => {
    const { apiKey, key, person } = await service.newKey();
    const verifier = service.client(KeyService, await service.newCredential("verify"));
    await verifier.verifyKey({ apiKey });
    await service.restart();
    const keys = service.client(KeyService, person.tokens.accessToken);
    const { lastUseTime } = (await keys.getKey({ keyId: key!.id })).key!;
    expect(Math.abs(Number(lastUseTime!.seconds) * 1000 - service.clock.nowMs())).toBeLessThan(60_000);
  });
});
