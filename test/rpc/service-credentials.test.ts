import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { ServiceCredential_State } from "../../src/gen/latchkey/v1/service_credential_pb.ts";
import { errorOf } from "../support/errors.ts";
import { startTestService, type TestService } from "../support/in-process-service.ts";

describe("service credentials", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const works = (secret: string) =>
    service
      .client(KeyService, secret)
      .verifyKey({ apiKey: "junk" })
      .then(
        () => true,
        (error) => (error.code === Code.Unauthenticated ? false : Promise.reject(error)),
      );

  it("are issued once, shown once, and listed without their secret", async () => {
    const requestId = crypto.randomUUID();
    const request = { name: "shop", scopes: ["verify"], requestId };
    const { credential, secret } = await admin.issueServiceCredential(request);
    expect(secret).toMatch(/^kit_svc_[0-9A-Za-z]{65}$/);
    expect(credential).toMatchObject({ name: "shop", scopes: ["verify"], state: ServiceCredential_State.ACTIVE });
    expect(await works(secret)).toBe(true);
    const again = await errorOf(admin.issueServiceCredential(request));
    expect(again).toMatchObject({ code: Code.AlreadyExists, metadata: { credential_id: credential!.id } });
    const { credentials } = await admin.listServiceCredentials({});
    expect(credentials.map(({ id }) => id)).toContain(credential!.id);
    expect(JSON.stringify(credentials, (_, v) => (typeof v === "bigint" ? 0 : v))).not.toContain(secret.slice(24));
  });

  it.each([
    ["scopes", { scopes: [] }],
    ["scopes", { scopes: ["root"] }],
    ["scopes", { scopes: ["verify", "root"] }],
    ["scopes", { scopes: ["verify", "verify"] }],
    ["name", { name: "" }],
    ["expire_time", { expireTime: timestampFromMs(0) }],
    ["request_id", { requestId: "x" }],
  ])("are refused with a malformed %s", async (field, request) => {
    const error = await errorOf(admin.issueServiceCredential({ name: "n", scopes: ["verify"], ...request }));
    expect(error).toMatchObject({ code: Code.InvalidArgument, fields: [field] });
  });

  it("rotate under one id with an overlap, and end at once when revoked", async () => {
    const { credential, secret } = await admin.issueServiceCredential({ name: "r", scopes: ["verify"] });
    const credentialId = credential!.id;
    const rotation = { credentialId, overlap: { seconds: 60n }, requestId: crypto.randomUUID() };
    const rotated = await admin.rotateServiceCredential(rotation);
    const again = await errorOf(admin.rotateServiceCredential(rotation));
    expect(again).toMatchObject({ reason: "REQUEST_ID_USED", metadata: { credential_id: credentialId } });
    expect(rotated.credential?.id).toBe(credentialId);
    expect([await works(secret), await works(rotated.secret)]).toEqual([true, true]);
    service.clock.advance(61_000);
    expect([await works(secret), await works(rotated.secret)]).toEqual([false, true]);
    const revoked = await admin.revokeServiceCredential({ credentialId, reason: "test" });
    expect(revoked.credential?.state).toBe(ServiceCredential_State.REVOKED);
    expect(await works(rotated.secret)).toBe(false);
    // The time of the last use may be written in between.
    const twice = (await admin.revokeServiceCredential({ credentialId })).credential;
    expect({ ...twice, lastUseTime: undefined }).toEqual({ ...revoked.credential, lastUseTime: undefined });
    const ended = await errorOf(admin.rotateServiceCredential({ credentialId }));
    expect(ended).toMatchObject({ code: Code.FailedPrecondition, reason: "KEY_ENDED" });
  });

  it("expire at their time, by the database's clock", async () => {
    const expireTime = timestampFromMs(service.clock.nowMs() + 5000);
    const { secret } = await admin.issueServiceCredential({ name: "e", scopes: ["verify"], expireTime });
    expect(await works(secret)).toBe(true);
    service.clock.advance(6000);
    expect(await works(secret)).toBe(false);
  });

  it("include at least one operator, because the last one cannot be revoked", async () => {
    const { credentials } = await admin.listServiceCredentials({});
    const first = credentials.find(({ name }) => name === "bootstrap")!;
    const error = await errorOf(admin.revokeServiceCredential({ credentialId: first.id }));
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: "LAST_ADMIN_CREDENTIAL" });
    expect((await admin.listServiceCredentials({})).credentials).not.toEqual([]);
  });

  it("are unknown to the management and verification of keys, and keys to the RPCs of credentials", async () => {
    const { credential, secret } = await admin.issueServiceCredential({ name: "k", scopes: ["manage"] });
    const keys = service.client(KeyService, service.admin);
    for (const keyId of [credential!.id, credential!.id.replace("svc_", "key_")]) {
      expect(await errorOf(keys.getKey({ keyId }))).toMatchObject({ code: Code.NotFound });
    }
    expect((await keys.verifyKey({ apiKey: secret })).valid).toBe(false);
    const { key } = await service.newKey();
    const wrong = await errorOf(admin.revokeServiceCredential({ credentialId: key!.id }));
    expect(wrong).toMatchObject({ code: Code.NotFound, reason: "SERVICE_CREDENTIAL_NOT_FOUND" });
  });
});
