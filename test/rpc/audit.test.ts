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
    expect(detailsOf("key.issued")).toEqual({ owner_id: person.user.id, tier: "basic" });
    const scopes = { scopes_before: "", scopes_after: "orders:read" };
    expect(detailsOf("key.updated")).toEqual({ fields: "name,scopes", ...scopes });
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

  it("has what authorises a key with its value before and after, whoever changes it, and the grant of a new account", async () => {
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
    // A value has a bounded length, because an owner chooses it.
    const many = Array.from({ length: 64 }, (_, n) => `orders:${"x".repeat(100)}${n}`);
    await manager.updateKey({ key: { id: keyId, scopes: many }, updateMask: { paths: ["scopes"] } });
    const [long] = (await admin.listAuditEvents({ subjectId: keyId })).events;
    expect(long?.details.scopes_after).toMatch(/^orders:x{100}0 .{800,900}\.\.\. \(\d{4} characters\)$/);
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

  describe("has attempts that failed or were refused, one event an hour for each whom they are about:", () => {
    const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
    const WRONG = "violet harbour engine quilt";
    let proxied: TestService;
    let operator: Client<typeof AdminService>;
    let anyone: Client<typeof AuthService>;
    beforeAll(async () => {
      proxied = await startTestService({
        LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
        LATCHKEY_ARGON2_MEMORY_KIB: "1024",
        LATCHKEY_ARGON2_PASSES: "1",
      });
      operator = proxied.client(AdminService, proxied.admin);
      anyone = proxied.client(AuthService);
    });
    afterAll(() => proxied?.[Symbol.asyncDispose]());

    const trail = async () => (await operator.listAuditEvents({ pageSize: 250 })).events;

    /** The event of a kind about a subject, once it counts so many: events are written behind the calls. */
    async function counted(kind: string, subjectId: string, count: number, more: object = {}) {
      const find = async () => (await trail()).filter((event) => event.kind === kind && event.subjectId === subjectId);
      await expect.poll(find, { timeout: 10_000 }).toMatchObject([{ kind, details: { count: `${count}`, ...more } }]);
      return (await find())[0]!;
    }

    /** So that no hour ends within a test. */
    function beginHour() {
      proxied.clock.advance(3_600_000 - (proxied.clock.nowMs() % 3_600_000) + 1000);
    }

    const guess = (email: string, ip: string) => errorOf(anyone.login({ email, password: WRONG }, from(ip)));

    async function guesses(email: string, times: number, ipOf: (n: number) => string) {
      const reasons = [];
      for (let n = 0; n < times; n++) reasons.push((await guess(email, ipOf(n))).reason);
      return reasons;
    }

    it("85 wrong passwords, with account, count, networks and the last address; in the log with address and account", async () => {
      beginHour();
      const person = await proxied.newPerson();
      const start = proxied.lines.length;
      const ipOf = (n: number) => (n < 80 ? `10.7.${n}.9` : `203.0.${n}.5`);
      expect(new Set(await guesses(person.email, 85, ipOf))).toEqual(new Set(["LOGIN_FAILED"]));
      const event = await counted("login.failed", person.user.id, 85, { "by login": "85" });
      expect(event).toMatchObject({ actorId: "", clientIp: "203.0.84.5" });
      expect(event.details).toMatchObject({ "from 10.7.0.0/24": "1", "from others": "69" });
      const lines = proxied.lines.slice(start).filter(({ reason }) => reason === "LOGIN_FAILED");
      expect(lines).toHaveLength(85);
      for (const [n, line] of lines.entries()) {
        expect(line).toMatchObject({ client_ip: ipOf(n), account: event.details.account, caller: "anonymous" });
      }
      expect(event.details.account).toMatch(/^[0-9a-f]{16}$/);
      const known = JSON.stringify([await trail(), proxied.lines], (_, value) =>
        typeof value === "bigint" ? String(value) : value,
      );
      for (const text of [person.email, "person-", WRONG]) expect(known).not.toContain(text);
    }, 30_000);

    it("wrong passwords for addresses without an account, by a digest, apart from those of accounts", async () => {
      beginHour();
      const person = await proxied.newPerson();
      const strangers = Array.from({ length: 20 }, (_, n) => `made-up-${n}@example.com`);
      for (const [n, email] of strangers.entries()) await guess(email, `10.9.${n}.1`);
      await guess(strangers[0]!, "10.9.200.1");
      await guess(person.email, "192.0.2.50");
      await counted("login.failed", person.user.id, 1);
      const sinceMs = proxied.clock.nowMs() - 3_600_000;
      const ofStrangers = async () => {
        const { events } = await operator.listAuditEvents({ pageSize: 250, startTime: timestampFromMs(sinceMs) });
        return events.filter(({ kind, subjectId }) => kind === "login.failed" && subjectId === "");
      };
      const sum = async () => (await ofStrangers()).reduce((total, { details }) => total + Number(details.count), 0);
      await expect.poll(sum, { timeout: 20_000 }).toBe(21);
      const events = await ofStrangers();
      // Sixteen have an event of their own, and one event counts the others.
      expect(events.map(({ details }) => details.shared_by !== undefined).sort()).toEqual([
        ...Array(16).fill(false),
        true,
      ]);
      expect(new Set(events.map(({ details }) => details.account)).size).toBe(17);
      expect(JSON.stringify(events.map(({ details }) => details))).not.toContain("made-up");
    }, 60_000);

    it("the current password that ChangePassword was not given", async () => {
      beginHour();
      const person = await proxied.newPerson();
      for (let n = 0; n < 3; n++) {
        const change = person.auth.changePassword(
          { currentPassword: WRONG, newPassword: PASSWORD },
          from("192.0.2.60"),
        );
        expect(await errorOf(change)).toMatchObject({ reason: "PASSWORD_WRONG" });
      }
      await counted("login.failed", person.user.id, 3, { "by change_password": "3" });
    });

    it("throttled guessing at an account that exists, though twelve made-up accounts were throttled before", async () => {
      beginHour();
      const person = await proxied.newPerson();
      for (let n = 0; n < 12; n++) await guesses(`nobody-${n}@example.com`, 7, () => `10.11.${n}.1`);
      const reasons = await guesses(person.email, 12, () => "192.0.2.1");
      const throttled = reasons.filter((reason) => reason === "TOO_MANY_ATTEMPTS").length;
      expect(throttled).toBeGreaterThan(1);
      const event = await counted("login.throttled", person.user.id, throttled, { reason: "account" });
      expect(event).toMatchObject({ actorId: "", clientIp: "192.0.2.1" });
      const failed = await counted("login.failed", person.user.id, 12 - throttled);
      expect(event.details.account).toBe(failed.details.account);
      const line = proxied.lines.findLast(({ reason }) => reason === "TOO_MANY_ATTEMPTS");
      expect(line).toMatchObject({ client_ip: "192.0.2.1", account: event.details.account });
    }, 60_000);

    it("a throttled network, whatever addresses of it tried whatever they could think of", async () => {
      beginHour();
      for (let n = 0; n < 24; n++) await guess(`n${n}@example.com`, "198.51.100.9");
      for (let n = 0; n < 24; n++) await guess(`m${n}@example.com`, "198.51.100.10");
      const find = async () =>
        (await trail()).filter(({ kind, details }) => kind === "login.throttled" && details.reason === "address");
      await expect
        .poll(find, { timeout: 10_000 })
        .toMatchObject([
          { subjectId: "", clientIp: "198.51.100.10", details: { count: "8", "from 198.51.100.0/24": "8" } },
        ]);
    }, 30_000);

    it("the right password of a disabled person, and not a wrong one", async () => {
      beginHour();
      const [person, other] = [await proxied.newPerson(), await proxied.newPerson()];
      for (const { user } of [person, other]) await operator.disableUser({ userId: user.id });
      const login = () => errorOf(anyone.login({ email: person.email, password: PASSWORD }, from("192.0.2.3")));
      for (let n = 0; n < 3; n++) expect(await login()).toMatchObject({ reason: "LOGIN_FAILED" });
      await guess(other.email, "192.0.2.4");
      await counted("login.refused", person.user.id, 3, { reason: "user_disabled" });
      await counted("login.failed", other.user.id, 1);
      expect((await trail()).filter(({ kind }) => kind === "login.refused")).toHaveLength(1);
    });

    it("the use of a service credential that is revoked, has expired or was rotated away", async () => {
      beginHour();
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
      const reasons = { revoked, rotated_away: rotated, expired };
      for (const [reason, { credential }] of Object.entries(reasons)) {
        const event = await counted("credential.refused", credential!.id, 20, { reason });
        expect(event).toMatchObject({ actorId: "", clientIp: "192.0.2.5" });
      }
      expect((await trail()).filter(({ kind }) => kind === "credential.refused")).toHaveLength(3);
      // It was no use of it.
      const { credentials } = await operator.listServiceCredentials({ pageSize: 250, showEnded: true });
      expect(credentials.find(({ id }) => id === revoked.credential!.id)?.lastUseTime).toBeUndefined();
    });

    it("what a good credential may not call or change, with who, which RPC, from where and how often", async () => {
      beginHour();
      const [person, other] = [await proxied.newPerson(), await proxied.newPerson()];
      const { key } = await other.keys.issueKey({ name: "theirs" });
      const [session] = (await other.auth.listSessions({})).sessions;
      const ip = from("192.0.2.80");
      const admin = proxied.client(AdminService, person.tokens.accessToken);
      for (let n = 0; n < 4; n++)
        expect(await errorOf(admin.listUsers({}, ip))).toMatchObject({ reason: "ACCESS_DENIED" });
      const refusals = [
        person.keys.getKey({ keyId: key!.id }, ip),
        person.keys.revokeKey({ keyId: key!.id }, ip),
        person.auth.revokeSession({ sessionId: session!.id }, ip),
        person.keys.issueKey({ name: "k", ownerId: other.user.id }, ip),
        person.keys.issueKey({ name: "k", tier: "enterprise" }, ip),
        // Theirs to ask for, though there is no such key: that is no attempt at someone else's.
        person.keys.getKey({ keyId: "key_AAAAAAAAAAAAAAAA" }, ip),
      ];
      await Promise.all(refusals.map(errorOf));
      const event = await counted("access.refused", person.user.id, 9);
      expect(event).toMatchObject({ actorId: person.user.id, clientIp: "192.0.2.80" });
      const { last_time: _, ...details } = event.details;
      expect(details).toEqual({
        count: "9",
        "from 192.0.2.0/24": "9",
        "call AdminService.ListUsers:ACCESS_DENIED": "4",
        "call KeyService.GetKey:KEY_NOT_FOUND": "1",
        "call KeyService.RevokeKey:KEY_NOT_FOUND": "1",
        "call AuthService.RevokeSession:SESSION_NOT_FOUND": "1",
        "call KeyService.IssueKey:OWNER_NOT_ALLOWED": "1",
        "call KeyService.IssueKey:TIER_NOT_GRANTED": "1",
      });
      const verifier = await operator.issueServiceCredential({ name: "verifier", scopes: ["verify"] });
      for (let n = 0; n < 300; n++) {
        expect(await errorOf(proxied.client(KeyService, verifier.secret).listKeys({}))).toMatchObject({
          code: Code.PermissionDenied,
        });
      }
      await counted("access.refused", verifier.credential!.id, 300, {
        "call KeyService.ListKeys:ACCESS_DENIED": "300",
      });
      expect((await trail()).filter(({ kind }) => kind === "access.refused")).toHaveLength(2);
    }, 60_000);

    it("genuine tokens of a session that has ended, and no word of made-up ones", async () => {
      beginHour();
      const person = await proxied.newPerson();
      const [session] = (await person.auth.listSessions({})).sessions;
      await anyone.logout({ refreshToken: person.tokens.refreshToken });
      const ip = from("192.0.2.90");
      for (let n = 0; n < 5; n++) await errorOf(person.auth.getCurrentUser({}, ip));
      for (let n = 0; n < 2; n++) await errorOf(anyone.refresh({ refreshToken: person.tokens.refreshToken }, ip));
      const start = proxied.lines.length;
      const forged = person.tokens.refreshToken.replace(/.{8}$/, "AAAAAAAA");
      await errorOf(anyone.refresh({ refreshToken: forged }, ip));
      await errorOf(proxied.client(AuthService, `${person.tokens.accessToken}x`).getCurrentUser({}, ip));
      const event = await counted("session.refused", person.user.id, 7, {
        "by access_token": "5",
        "by refresh_token": "2",
      });
      expect(event).toMatchObject({ actorId: "", clientIp: "192.0.2.90", details: { session_id: session!.id } });
      // So is a reset token that is used up, and no word of a made-up one.
      const { resetToken } = await operator.createPasswordReset({ userId: person.user.id });
      const reset = (token: string) => anyone.completePasswordReset({ resetToken: token, newPassword: PASSWORD }, ip);
      await reset(resetToken);
      for (let n = 0; n < 2; n++)
        expect(await errorOf(reset(resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
      await errorOf(reset("kit_reset_made-up"));
      await counted("reset_token.refused", person.user.id, 2, { "by reset_token": "2" });
      // Made-up ones are in the log, with the address.
      expect(proxied.lines.slice(start)).toContainEqual(
        expect.objectContaining({ reason: "CREDENTIAL_INVALID", client_ip: "192.0.2.90", caller: "anonymous" }),
      );
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
