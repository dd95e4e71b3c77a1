import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

describe("the audit trail of refusals, one event an hour for each subject,", () => {
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
  const WRONG = "violet harbour engine quilt";
  let proxied: TestService;
  let operator: Client<typeof AdminService>;
  let anyone: Client<typeof AuthService>;
  beforeAll(async () => {
    proxied = await startTestService({
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
    });
    operator = proxied.client(AdminService, proxied.admin);
    anyone = proxied.client(AuthService);
  });
  afterAll(() => proxied?.[Symbol.asyncDispose]());

  const trail = async () => (await operator.listAuditEvents({ pageSize: 250 })).events;

  /** Waits until the one event of a kind about a subject counts `count`: the service writes events after the calls. */
  async function counted(kind: string, subjectId: string, count: number, more: object = {}) {
    const find = async () => (await trail()).filter((event) => event.kind === kind && event.subjectId === subjectId);
    await expect.poll(find, { timeout: 10_000 }).toMatchObject([{ kind, details: { count: `${count}`, ...more } }]);
    return (await find())[0]!;
  }

  /** Moves the clock to the start of an hour, so that no hour ends within a test. */
  function beginHour() {
    proxied.clock.advance(3_600_000 - (proxied.clock.nowMs() % 3_600_000) + 1000);
  }

  const guess = (email: string, ip: string) => errorOf(anyone.login({ email, password: WRONG }, from(ip)));

  async function guesses(email: string, times: number, ipOf: (n: number) => string) {
    const reasons = [];
    for (let n = 0; n < times; n++) reasons.push((await guess(email, ipOf(n))).reason);
    return reasons;
  }

  it("has one event for 85 wrong passwords, with account, count, networks and the last address", async () => {
    beginHour();
    const person = await proxied.newPerson();
    const start = proxied.lines.length;
    const ipOf = (n: number) => (n < 80 ? `10.7.${n}.9` : `203.0.${n}.5`);
    expect(new Set(await guesses(person.email, 85, ipOf))).toEqual(new Set(["LOGIN_FAILED"]));
    const event = await counted("login.failed", person.user.id, 85, { "by login": "85" });
    expect(event).toMatchObject({ actorId: "", clientIp: "203.0.84.5" });
    expect(event.details).toMatchObject({ "from 10.7.0.0/24": "1", "from others": "69" });
    const lines = proxied.lines.slice(start).filter(({ fields }) => fields.reason === "LOGIN_FAILED");
    expect(lines).toHaveLength(85);
    for (const [n, { fields }] of lines.entries()) {
      expect(fields).toMatchObject({ client_ip: ipOf(n), account: event.details.account, caller: "anonymous" });
    }
    expect(event.details.account).toMatch(/^[0-9a-f]{16}$/);
    const known = JSON.stringify([await trail(), proxied.lines], (_, value) =>
      typeof value === "bigint" ? String(value) : value,
    );
    for (const text of [person.email, "person-", WRONG]) expect(known).not.toContain(text);
  }, 30_000);

  it("has wrong passwords for addresses without an account under a digest, apart from those of accounts", async () => {
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
    // Sixteen addresses have an event each, and one event counts the rest.
    expect(events.map(({ details }) => details.shared_by !== undefined).sort()).toEqual([
      ...Array(16).fill(false),
      true,
    ]);
    expect(new Set(events.map(({ details }) => details.account)).size).toBe(17);
    expect(JSON.stringify(events.map(({ details }) => details))).not.toContain("made-up");
  }, 60_000);

  it("has wrong current passwords of ChangePassword", async () => {
    beginHour();
    const person = await proxied.newPerson();
    for (let n = 0; n < 3; n++) {
      const change = person.auth.changePassword({ currentPassword: WRONG, newPassword: PASSWORD }, from("192.0.2.60"));
      expect(await errorOf(change)).toMatchObject({ reason: "PASSWORD_WRONG" });
    }
    await counted("login.failed", person.user.id, 3, { "by change_password": "3" });
  });

  it("has throttled guesses at a real account, even after twelve made-up accounts were throttled", async () => {
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
    const line = proxied.lines.findLast(({ fields }) => fields.reason === "TOO_MANY_ATTEMPTS");
    expect(line?.fields).toMatchObject({ client_ip: "192.0.2.1", account: event.details.account });
  }, 60_000);

  it("has one event for a throttled network, with guesses of several of its addresses", async () => {
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

  it("has the right password of a disabled user as a refusal, and a wrong one as a failure", async () => {
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

  it("has uses of a service credential that is revoked, expired or rotated away", async () => {
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
    // A refused credential does not count as used.
    const { credentials } = await operator.listServiceCredentials({ pageSize: 250, showEnded: true });
    expect(credentials.find(({ id }) => id === revoked.credential!.id)?.lastUseTime).toBeUndefined();
  });

  it("has what a valid credential was not allowed to do, with caller, RPC, network and count", async () => {
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
      // Not counted: there is no such key, so this is no attempt at another user's key.
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

  it("has genuine tokens of an ended session, and no made-up tokens", async () => {
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
    // The same holds for a used reset token and a made-up one.
    const { resetToken } = await operator.createPasswordReset({ userId: person.user.id });
    const reset = (token: string) => anyone.completePasswordReset({ resetToken: token, newPassword: PASSWORD }, ip);
    await reset(resetToken);
    for (let n = 0; n < 2; n++)
      expect(await errorOf(reset(resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
    await errorOf(reset("kit_reset_made-up"));
    await counted("reset_token.refused", person.user.id, 2, { "by reset_token": "2" });
    // The log has the made-up tokens, with the address.
    expect(proxied.lines.slice(start)).toContainEqual(
      expect.objectContaining({
        fields: expect.objectContaining({
          reason: "CREDENTIAL_INVALID",
          client_ip: "192.0.2.90",
          caller: "anonymous",
        }),
      }),
    );
  });
});
