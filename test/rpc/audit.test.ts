import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/service.ts";

describe("the audit trail", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const kindsOf = async (subjectId: string) =>
    (await admin.listAuditEvents({ subjectId })).events.map(({ kind }) => kind).reverse();

  it("has each change of a key once, with who made it, from where and what, also after the key is deleted", async () => {
    const { key, person } = await service.newKey();
    const keyId = key!.id;
    await person.keys.updateKey({ key: { id: keyId, name: "secret name" }, updateMask: { paths: ["name", "scopes"] } });
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
    expect(detailsOf("key.updated")).toEqual({ fields: "name,scopes" });
    expect(detailsOf("key.revoked")).toEqual({ reason: "lost" });
    expect(JSON.stringify(events.map(({ details }) => details))).not.toContain("secret name");
  });

  it("has what becomes of service credentials, the first one included", async () => {
    const { credential } = await admin.issueServiceCredential({ name: "a", scopes: ["verify"] });
    const credentialId = credential!.id;
    await admin.rotateServiceCredential({ credentialId });
    await admin.revokeServiceCredential({ credentialId, reason: "done" });
    expect(await kindsOf(credentialId)).toEqual(["credential.issued", "credential.rotated", "credential.revoked"]);
    const { events } = await admin.listAuditEvents({ actorId: "bootstrap" });
    expect(events.map(({ kind }) => kind)).toEqual(["credential.issued"]);
  });

  it("has what becomes of people and their sessions", async () => {
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

  it("has a stolen refresh token's use, and what ended a session", async () => {
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

  it("is listed newest first in pages, by actor and by time", async () => {
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

  it("names what is wrong with a request", async () => {
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
