import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

describe("the audit trail", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    // Cheap hashes, because no test here depends on their cost.
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const kindsOf = async (subjectId: string) =>
    (await admin.listAuditEvents({ subjectId })).events.map(({ kind }) => kind).reverse();

  it("has each change of a key once, with its actor, address and details, also after the key is deleted", async () => {
    const { key, person } = await service.newKey();
    const keyId = key!.id;
    await person.keys.updateKey({
      key: { id: keyId, name: "secret name", scopes: ["orders:read"] },
      updateMask: { paths: ["name", "scopes"] },
    });
    await person.keys.disableKey({ keyId });
    await person.keys.disableKey({ keyId });
    await person.keys.enableKey({ keyId });
    await person.keys.rotateKey({ keyId });
    await errorOf(person.keys.rotateKey({ keyId, overlap: { seconds: -1n } }));
    await person.keys.revokeKey({ keyId, reason: "lost" });
    await person.keys.deleteKey({ keyId });
    const { events } = await admin.listAuditEvents({ subjectId: keyId });
    expect(events.map(({ kind }) => kind).reverse()).toEqual([
      "key.issued",
      "key.updated",
      "key.disabled",
      "key.enabled",
      "key.rotated",
      "key.revoked",
      "key.deleted",
    ]);
    expect(new Set(events.map(({ actorId, clientIp }) => `${actorId} ${clientIp}`))).toEqual(
      new Set([`${person.user.id} 127.0.0.1`]),
    );
    const detailsOf = (kind: string) => events.find((event) => event.kind === kind)?.details;
    expect(detailsOf("key.issued")).toEqual({ owner_id: person.user.id, tier: "basic" });
    const scopes = { scopes_before: "", scopes_after: "orders:read" };
    expect(detailsOf("key.updated")).toEqual({ fields: "name,scopes", ...scopes });
    expect(detailsOf("key.revoked")).toEqual({ reason: "lost" });
    expect(JSON.stringify(events.map(({ details }) => details))).not.toContain("secret name");
  });

  it("has each change of a service credential, including the first operator's", async () => {
    const { credential } = await admin.issueServiceCredential({ name: "a", scopes: ["verify"] });
    const credentialId = credential!.id;
    await admin.rotateServiceCredential({ credentialId });
    await admin.revokeServiceCredential({ credentialId, reason: "done" });
    expect(await kindsOf(credentialId)).toEqual(["credential.issued", "credential.rotated", "credential.revoked"]);
    const { events } = await admin.listAuditEvents({ actorId: "bootstrap" });
    expect(events.map(({ kind }) => kind)).toEqual(["credential.issued"]);
  });

  it("has each change of a user and the end of each session", async () => {
    const anyone = service.client(AuthService);
    const { user, resetToken } = await admin.createUser({ email: "on-record@example.com" });
    const userId = user!.id;
    const { tokens } = await anyone.completePasswordReset({ resetToken, newPassword: PASSWORD });
    const auth = service.client(AuthService, tokens!.accessToken);
    await auth.updateCurrentUser({ user: { displayName: "private" }, updateMask: { paths: ["display_name"] } });
    const changed = await auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} again` });
    await admin.updateUser({ user: { id: userId, tier: "pro" }, updateMask: { paths: ["tier"] } });
    await admin.disableUser({ userId });
    await admin.disableUser({ userId });
    await admin.enableUser({ userId });
    expect(await kindsOf(userId)).toEqual([
      "user.created",
      "user.password_reset",
      "user.updated",
      "user.password_changed",
      "user.updated",
      "user.disabled",
      "user.enabled",
    ]);
    const { events } = await admin.listAuditEvents({ actorId: userId });
    expect(events.filter(({ kind }) => kind === "session.begun")).toHaveLength(2);
    const all = JSON.stringify(events.map(({ details }) => details));
    for (const text of ["private", PASSWORD, changed.tokens!.refreshToken]) expect(all).not.toContain(text);
  });

  it("has no event for an update that changes nothing, by any RPC, and the key keeps its etag", async () => {
    const person = await service.newPerson();
    const { key } = await person.keys.issueKey({ name: "same", scopes: ["orders:read"] });
    const keyId = key!.id;
    const same = await person.keys.updateKey({
      key: { id: keyId, name: "same", scopes: ["orders:read"], description: "" },
      updateMask: { paths: ["name", "scopes", "description", "metadata", "expire_time"] },
    });
    expect(same.key!.etag).toBe(key!.etag);
    await person.auth.updateCurrentUser({
      user: { displayName: person.user.displayName },
      updateMask: { paths: ["display_name"] },
    });
    await admin.updateUser({ user: { id: person.user.id, tier: "basic" }, updateMask: { paths: ["tier"] } });
    expect(await kindsOf(keyId)).toEqual(["key.issued"]);
    expect(await kindsOf(person.user.id)).toEqual(["user.registered"]);
    // The control: an update that changes one of two fields has an event that names that field.
    await person.keys.updateKey({
      key: { id: keyId, name: "other", description: "" },
      updateMask: { paths: ["name", "description"] },
    });
    const { events } = await admin.listAuditEvents({ subjectId: keyId });
    expect(events[0]).toMatchObject({ kind: "key.updated", details: { fields: "name" } });
  });

  it("has a changed grant with its value before and after", async () => {
    const { user } = await service.newPerson();
    const update = { user: { id: user.id, tier: "pro", scopes: ["orders:*", "users:read"] } };
    await admin.updateUser({ ...update, updateMask: { paths: ["tier", "scopes", "display_name"] } });
    const { events } = await admin.listAuditEvents({ subjectId: user.id });
    expect(events[0]?.details).toMatchObject({
      tier_before: "basic",
      tier_after: "pro",
      scopes_before: "*",
      scopes_after: "orders:* users:read",
    });
  });

  it("has the old and new value of what authorises a key, for any actor, and the grant of a new account", async () => {
    const { user } = await admin.createUser({ email: "granted@example.com", tier: "pro", scopes: ["orders:*"] });
    const [created] = (await admin.listAuditEvents({ subjectId: user!.id })).events;
    expect(created).toMatchObject({ kind: "user.created", details: { tier: "pro", scopes: "orders:*" } });
    const manager = service.client(KeyService, await service.newCredential("manage"));
    const issued = await manager.issueKey({
      ...{ name: "k", ownerId: user!.id, tier: "pro", scopes: ["orders:read"], allowedIps: ["192.0.2.0/24"] },
      limits: { perMinute: 7 },
    });
    const keyId = issued.key!.id;
    const paths = ["tier", "scopes", "limits", "allowed_ips", "allowed_methods", "expire_time", "metadata"];
    const expireTime = timestampFromMs(Date.now() + 3_600_000);
    await manager.updateKey({
      key: {
        ...{ id: keyId, tier: "basic", scopes: ["orders:read", "orders:write"], limits: { perDay: 100 } },
        ...{ allowedMethods: ["/shop.v1.Orders/*"], expireTime, metadata: { team: "secret team" } },
      },
      updateMask: { paths },
    });
    const [updated, first] = (await admin.listAuditEvents({ subjectId: keyId })).events;
    expect(first?.details).toEqual({
      ...{ owner_id: user!.id, tier: "pro", scopes: "orders:read", limits: "7/-", allowed_ips: "192.0.2.0/24" },
    });
    const { fields, ...values } = updated!.details;
    expect(fields?.split(",").sort()).toEqual([...paths].sort());
    expect(values).toEqual({
      ...{ tier_before: "pro", tier_after: "basic" },
      ...{ scopes_before: "orders:read", scopes_after: "orders:read orders:write" },
      ...{ limits_before: "7/-", limits_after: "-/100" },
      ...{ allowed_ips_before: "192.0.2.0/24", allowed_ips_after: "" },
      ...{ allowed_methods_before: "", allowed_methods_after: "/shop.v1.Orders/*" },
      ...{ expire_time_before: "", expire_time_after: expect.stringMatching(/^\d{4}-.*Z$/) },
    });
    // An owner chooses the values, so their length in an event is bounded.
    const many = Array.from({ length: 64 }, (_, n) => `orders:${"x".repeat(80)}${n}`);
    await manager.updateKey({ key: { id: keyId, scopes: many }, updateMask: { paths: ["scopes"] } });
    const [long] = (await admin.listAuditEvents({ subjectId: keyId })).events;
    expect(long?.details.scopes_after).toMatch(/^orders:x{80}0 .{820,920}\.\.\. \(\d{4} characters\)$/);
  });

  it("has the second use of a refresh token, and the reason why a session ended", async () => {
    const person = await service.newPerson();
    const anyone = service.client(AuthService);
    const { sessions } = await person.auth.listSessions({});
    const { refreshToken } = person.tokens;
    await anyone.refresh({ refreshToken });
    service.clock.advance(11_000);
    await errorOf(anyone.refresh({ refreshToken }));
    await errorOf(anyone.refresh({ refreshToken }));
    expect(await kindsOf(sessions[0]!.id)).toEqual(["session.begun", "session.token_reused"]);
    const other = await service.newPerson();
    const [session] = (await other.auth.listSessions({})).sessions;
    for (let n = 0; n < 2; n++) await anyone.logout({ refreshToken: other.tokens.refreshToken });
    expect(await kindsOf(session!.id)).toEqual(["session.begun", "session.ended"]);
  });

  it("has each logout, and the end of the oldest session when a user has too many", async () => {
    const person = await service.newPerson();
    const anyone = service.client(AuthService);
    const [first] = (await person.auth.listSessions({})).sessions;
    const logins = [];
    for (let n = 0; n < 50; n++) logins.push(await anyone.login({ email: person.email, password: PASSWORD }));
    await anyone.logout({ refreshToken: logins.at(-1)!.tokens!.refreshToken });
    const { events } = await admin.listAuditEvents({ actorId: person.user.id, pageSize: 250 });
    const ended = events.filter(({ kind }) => kind === "session.ended");
    expect(ended.map(({ details }) => details.reason)).toEqual(["logout", "too_many_sessions"]);
    expect(ended[1]).toMatchObject({ subjectId: first!.id, actorId: person.user.id, clientIp: "127.0.0.1" });
  }, 60_000);

  it("has the address of each change, except changes that the service made itself", async () => {
    const { events } = await admin.listAuditEvents({ pageSize: 250 });
    expect(events.length).toBeGreaterThan(50);
    const without = events.filter(({ clientIp }) => clientIp === "");
    expect(new Set(without.map(({ kind, actorId }) => `${kind} by ${actorId}`))).toEqual(
      new Set(["credential.issued by bootstrap", "signing_key.created by "]),
    );
  });

  it("lists events newest first in pages, by actor and by time", async () => {
    const { person } = await service.newKey();
    const actorId = person.user.id;
    for (let n = 0; n < 4; n++) await person.keys.issueKey({ name: `k${n}` });
    const all = (await admin.listAuditEvents({ actorId })).events;
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await admin.listAuditEvents({ actorId, pageSize: 2, pageToken });
      seen.push(...page.events.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(all.map(({ id }) => id));
    const times = all.map(({ eventTime }) => Number(eventTime!.seconds) * 1000 + eventTime!.nanos / 1e6);
    expect([...times].sort((a, b) => b - a)).toEqual(times);
    const [middle] = [times[2]!];
    const from = (await admin.listAuditEvents({ actorId, startTime: timestampFromMs(middle) })).events;
    const before = (await admin.listAuditEvents({ actorId, endTime: timestampFromMs(middle) })).events;
    expect([...from, ...before].map(({ id }) => id)).toEqual(all.map(({ id }) => id));
    expect(from.length).toBeGreaterThanOrEqual(3);
  });

  it("names the wrong fields of a request", async () => {
    const wrong = async (request: Parameters<typeof admin.listAuditEvents>[0]) => {
      const { code, fields } = await errorOf(admin.listAuditEvents(request));
      expect(code).toBe(Code.InvalidArgument);
      return fields;
    };
    expect(await wrong({ pageSize: -1 })).toEqual(["page_size"]);
    expect(await wrong({ subjectId: "a b" })).toEqual(["subject_id"]);
    expect(await wrong({ actorId: "x".repeat(65) })).toEqual(["actor_id"]);
    expect(await wrong({ startTime: timestampFromMs(2), endTime: timestampFromMs(1) })).toEqual(["end_time"]);
    expect(await wrong({ startTime: { seconds: 9n ** 17n } })).toEqual(["start_time"]);
    const { nextPageToken } = await admin.listAuditEvents({ pageSize: 1 });
    expect(await wrong({ pageToken: nextPageToken, actorId: "bootstrap" })).toEqual(["page_token"]);
    expect((await admin.listAuditEvents({ startTime: { seconds: -62_135_596_800n } })).events).not.toEqual([]);
  });
});
