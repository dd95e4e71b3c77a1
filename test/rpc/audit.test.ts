import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
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

  it("has nothing of an update that changes nothing, whichever RPC it comes by, and the key keeps its etag", async () => {
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
    // The control: an update beside it that changes one of two fields names that one.
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

  it("has who logged out, and what ended the oldest of too many sessions", async () => {
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

  describe("has attempts that were refused, one of each kind for each whom they are about:", () => {
    const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
    const WRONG = "violet harbour engine quilt";
    let proxied: TestService;
    let operator: Client<typeof AdminService>;
    beforeAll(async () => {
      proxied = await startTestService({
        LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
        LATCHKEY_ARGON2_MEMORY_KIB: "1024",
        LATCHKEY_ARGON2_PASSES: "1",
      });
      operator = proxied.client(AdminService, proxied.admin);
    });
    afterAll(() => proxied?.[Symbol.asyncDispose]());

    /** All of a kind, oldest first, once there are so many: they are written behind the calls. */
    async function refusals(kind: string, count: number) {
      const list = async () =>
        (await operator.listAuditEvents({ pageSize: 250 })).events.filter((event) => event.kind === kind).reverse();
      await expect.poll(async () => (await list()).length).toBe(count);
      return list();
    }

    it("throttled guessing, with the account where there is one, and no word of one that there is not", async () => {
      const anyone = proxied.client(AuthService);
      const person = await proxied.newPerson();
      const stranger = "nobody-at-all@example.com";
      const guess = async (email: string, ip: string) => {
        const answers = [];
        for (let n = 0; n < 12; n++) answers.push(await errorOf(anyone.login({ email, password: WRONG }, from(ip))));
        return answers.filter(({ reason }) => reason === "TOO_MANY_ATTEMPTS").length;
      };
      const throttled = await guess(person.email, "192.0.2.1");
      expect(throttled).toBeGreaterThan(1);
      await guess(stranger, "192.0.2.2");
      // One address that tries whatever it can think of.
      for (let n = 0; n < 24; n++) {
        await errorOf(anyone.login({ email: `n${n}@example.com`, password: WRONG }, from("198.51.100.9")));
      }
      const events = await refusals("login.throttled", 3);
      expect(events).toMatchObject([
        { subjectId: person.user.id, actorId: "", clientIp: "192.0.2.1", details: { reason: "account" } },
        { subjectId: "", actorId: "", clientIp: "192.0.2.2", details: { reason: "account" } },
        { subjectId: "", actorId: "", clientIp: "198.51.100.9", details: { reason: "address" } },
      ]);
      const trail = (await operator.listAuditEvents({ pageSize: 250 })).events.map((event) =>
        Object.values(event.details),
      );
      expect(JSON.stringify(trail)).not.toContain("example.com");
      // After a while there is one more, which says how many it stands for.
      proxied.clock.advance(600_000);
      await guess(person.email, "192.0.2.1");
      const [again] = (await refusals("login.throttled", 4)).slice(-1);
      expect(again).toMatchObject({ subjectId: person.user.id, details: { refused_before: `${throttled - 1}` } });
    });

    it("the right password of a disabled person, and not a wrong one", async () => {
      const anyone = proxied.client(AuthService);
      const [person, other] = [await proxied.newPerson(), await proxied.newPerson()];
      for (const { user } of [person, other]) await operator.disableUser({ userId: user.id });
      for (let n = 0; n < 3; n++)
        await errorOf(anyone.login({ email: person.email, password: PASSWORD }, from("192.0.2.3")));
      await errorOf(anyone.login({ email: other.email, password: WRONG }, from("192.0.2.4")));
      expect(await refusals("login.refused", 1)).toMatchObject([
        { subjectId: person.user.id, clientIp: "192.0.2.3", details: { reason: "user_disabled" } },
      ]);
    });

    it("the use of a service credential that is revoked, has expired or was rotated away", async () => {
      const issue = (name: string, expireTime?: ReturnType<typeof timestampFromMs>) =>
        operator.issueServiceCredential({ name, scopes: ["manage"], ...(expireTime && { expireTime }) });
      const revoked = await issue("revoked");
      await operator.revokeServiceCredential({ credentialId: revoked.credential!.id });
      const rotated = await issue("rotated");
      const overlap = { seconds: 0n };
      await operator.rotateServiceCredential({ credentialId: rotated.credential!.id, overlap });
      const expired = await issue("expired", timestampFromMs(proxied.clock.nowMs() + 60_000));
      proxied.clock.advance(61_000);
      for (const { secret } of [revoked, rotated, expired]) {
        for (let n = 0; n < 20; n++) {
          const refused = await errorOf(proxied.client(KeyService, secret).listKeys({}, from("192.0.2.5")));
          expect(refused).toMatchObject({ code: Code.Unauthenticated, reason: "CREDENTIAL_INVALID" });
        }
      }
      const good = await issue("good");
      await proxied.client(KeyService, good.secret).listKeys({ ownerId: (await proxied.newPerson()).user.id });
      expect(await refusals("credential.refused", 3)).toMatchObject([
        { subjectId: revoked.credential!.id, clientIp: "192.0.2.5", details: { reason: "revoked" } },
        { subjectId: rotated.credential!.id, clientIp: "192.0.2.5", details: { reason: "rotated_away" } },
        { subjectId: expired.credential!.id, clientIp: "192.0.2.5", details: { reason: "expired" } },
      ]);
      // It was no use of it.
      const { credentials } = await operator.listServiceCredentials({ pageSize: 250, showEnded: true });
      expect(credentials.find(({ id }) => id === revoked.credential!.id)?.lastUseTime).toBeUndefined();
    });
  });

  it("says from where each came, but for what the service did by itself", async () => {
    const { events } = await admin.listAuditEvents({ pageSize: 250 });
    expect(events.length).toBeGreaterThan(50);
    const without = events.filter(({ clientIp }) => clientIp === "");
    expect(new Set(without.map(({ kind, actorId }) => `${kind} by ${actorId}`))).toEqual(
      new Set(["credential.issued by bootstrap", "signing_key.created by "]),
    );
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
