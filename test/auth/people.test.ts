import { randomBytes } from "node:crypto";
import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signAccessToken } from "../../src/auth/access-token.ts";
import { authenticateUser } from "../../src/auth/authenticate-user.ts";
import { changePassword } from "../../src/auth/change-password.ts";
import { completePasswordReset } from "../../src/auth/complete-password-reset.ts";
import { createUser } from "../../src/auth/create-user.ts";
import { disableUser } from "../../src/auth/disable-user.ts";
import { enableUser } from "../../src/auth/enable-user.ts";
import { getCurrentUser } from "../../src/auth/get-current-user.ts";
import { getUser } from "../../src/auth/get-user.ts";
import { listSessions } from "../../src/auth/list-sessions.ts";
import { listUsers } from "../../src/auth/list-users.ts";
import { login } from "../../src/auth/login.ts";
import { logout } from "../../src/auth/logout.ts";
import { refresh } from "../../src/auth/refresh.ts";
import { refreshTokenOf } from "../../src/auth/refresh-token.ts";
import { revokeSession } from "../../src/auth/revoke-session.ts";
import { updateCurrentUser } from "../../src/auth/update-current-user.ts";
import { updateUser } from "../../src/auth/update-user.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { newId } from "../../src/lib/id.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import {
  canOpen,
  DATABASE_KINDS,
  freshTarget,
  openDatabase,
  openTarget,
  type TestDatabase,
} from "../support/database.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { DAYS, freshEmail, newPeople, ORIGIN, PASSWORD, type People, registered, SECONDS } from "../support/people.ts";

const OTHER_PASSWORD = "violet harbour engine quilt";
const BY = { actorId: "svc_0123456789abcdef", clientIp: "192.0.2.1" };
const NEWEST = DATABASE_KINDS.filter(canOpen).at(-1) ?? "embedded";

/** What a caller would see of an error. */
async function refusalOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof DomainError)) throw new Error(`expected a refusal, got ${error}`);
  const { reason, message, violations, retryAfterMs, metadata } = error;
  return { reason, message, violations, retryAfterMs, metadata };
}

describe(`people, on ${NEWEST}`, () => {
  let test: TestDatabase;
  let people: People;
  beforeAll(async () => {
    test = await openDatabase(NEWEST);
    people = newPeople(test);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const authenticate = (accessToken: string, at = people) => authenticateUser(at, { accessToken });

  /** As another process sees it, which was told of nothing. */
  const elsewhere = () => newPeople(test, { ring: people.ring, told: false });

  describe("Register", () => {
    it("creates an account and a session that works", async () => {
      const email = freshEmail();
      const { user, tokens } = await registered(people, { email, displayName: "Mike" });
      expect(user).toMatchObject({ email, displayName: "Mike", tier: "basic", scopes: ["*"], state: "active" });
      const caller = await authenticate(tokens.accessToken);
      expect(caller.userId).toBe(user.id);
      expect(await getCurrentUser(people, caller)).toEqual(user);
      expect(decodeJwt(tokens.accessToken).exp).toBe(tokens.accessExpiresAtMs / 1000);
    });

    it("refuses the same address in another ASCII case, and takes one that only looks like it", async () => {
      const email = `mike.${freshEmail()}`;
      await registered(people, { email });
      expect(await refusalOf(registered(people, { email: email.toUpperCase() }))).toMatchObject({
        reason: "EMAIL_TAKEN",
      });
      await registered(people, { email: email.replace("mike", "mıke") });
    });

    it("names all faults at once, and costs no hash then", async () => {
      const before = people.passwords.hashes;
      const input = { email: "a@b@example.com", password: "short", displayName: "a\0b" };
      const refusal = await refusalOf(registered(people, input));
      expect(refusal.reason).toBe("INVALID_FIELD");
      expect(refusal.violations.map((each) => [each.field, each.reason])).toEqual([
        ["email", undefined],
        ["password", "PASSWORD_TOO_SHORT"],
        ["display_name", undefined],
      ]);
      expect(refusal.message).not.toContain("short");
      expect(people.passwords.hashes).toBe(before);
    });

    it("can be closed", async () => {
      const closed = { ...people, registrationOpen: false };
      expect(await refusalOf(registered(closed))).toMatchObject({ reason: "REGISTRATION_CLOSED" });
    });
  });

  describe("Login", () => {
    it("takes any ASCII case of the address and any normal form of the password", async () => {
      const email = freshEmail();
      await registered(people, { email, password: "caf\u00e9 noir et tarte" });
      const { tokens } = await login(people, {
        email: email.toUpperCase(),
        password: "cafe\u0301 noir et tarte",
        ...ORIGIN,
      });
      expect(await authenticate(tokens.accessToken)).toBeDefined();
    });

    it("answers unknown, wrong and disabled alike, each for exactly one hash", async () => {
      const email = freshEmail();
      await registered(people, { email });
      const disabled = await registered(people);
      await disableUser(people, { userId: disabled.user.id, by: BY });
      const created = freshEmail();
      await createUser(people, { email: created, displayName: "", tier: "", scopes: [], by: BY });
      const attempts = [
        { email, password: OTHER_PASSWORD },
        { email, password: `${PASSWORD} ` },
        { email, password: "" },
        { email: freshEmail(), password: PASSWORD },
        { email: "no address", password: PASSWORD },
        { email: "", password: PASSWORD },
        { email: disabled.user.email, password: PASSWORD },
        { email: created, password: PASSWORD },
      ];
      const refusals = [];
      for (const attempt of attempts) {
        const before = people.passwords.hashes;
        refusals.push(await refusalOf(login(people, { ...attempt, ...ORIGIN })));
        expect(people.passwords.hashes - before).toBe(1);
      }
      expect(refusals[0]).toMatchObject({ reason: "LOGIN_FAILED" });
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal))).size).toBe(1);
      const before = people.passwords.hashes;
      await login(people, { email, password: PASSWORD, ...ORIGIN });
      expect(people.passwords.hashes - before).toBe(1);
    });

    it.each([
      ["email", "a\0b@example.com", PASSWORD],
      ["email", "\ud800@example.com", PASSWORD],
      ["email", `${"a".repeat(300)}@example.com`, PASSWORD],
      ["password", "mike@example.com", "kf93 dlw\0-29xk! s"],
      ["password", "mike@example.com", "x".repeat(1025)],
      ["password", "mike@example.com", "x".repeat(60_000)],
    ])("names %s where it can be no such thing, for no hash", async (field, email, password) => {
      const before = people.passwords.hashes;
      const refusal = await refusalOf(login(people, { email, password, ...ORIGIN }));
      expect(refusal).toMatchObject({ reason: "INVALID_FIELD", violations: [{ field }] });
      expect(people.passwords.hashes).toBe(before);
    });

    it("hashes a password anew when the parameters rose, once", async () => {
      const email = freshEmail();
      await registered(people, { email });
      const { PasswordHasher } = await import("../../src/auth/password.ts");
      const { ring, log } = people;
      const passwords = new PasswordHasher({ ring, log, memoryKib: 2048, passes: 2, concurrency: 1 });
      const raised = { ...people, passwords };
      await login(raised, { email, password: PASSWORD, ...ORIGIN });
      expect(passwords.hashes).toBe(2);
      await login(raised, { email, password: PASSWORD, ...ORIGIN });
      expect(passwords.hashes).toBe(3);
    });

    it("costs no hash once it is throttled, and the answer is the same for accounts that don't exist", async () => {
      const { user } = await registered(people);
      const attempt = { password: OTHER_PASSWORD, ...ORIGIN, clientIp: "198.51.100.1" };
      const refusals = [];
      for (const email of [user.email, "nobody@example.com"]) {
        for (let n = 0; n < 5; n++) {
          expect(await refusalOf(login(people, { ...attempt, email }))).toMatchObject({ reason: "LOGIN_FAILED" });
        }
        const before = people.passwords.hashes;
        refusals.push(await refusalOf(login(people, { ...attempt, email })));
        expect(people.passwords.hashes).toBe(before);
      }
      expect(refusals[0]).toMatchObject({ reason: "TOO_MANY_ATTEMPTS", retryAfterMs: 1000 });
      expect(refusals[1]).toEqual(refusals[0]);
    });
  });

  describe("Refresh", () => {
    const use = (refreshToken: string) => refresh(people, { refreshToken, clientIp: ORIGIN.clientIp });

    it("gives 50 concurrent callers one successor, byte by byte", async () => {
      const { tokens } = await registered(people);
      const answers = await Promise.all(Array.from({ length: 50 }, () => use(tokens.refreshToken)));
      expect(new Set(answers.map((each) => JSON.stringify(each))).size).toBe(1);
      expect(answers[0]?.refreshToken).not.toBe(tokens.refreshToken);
      expect(answers[0]?.accessToken).not.toBe(tokens.accessToken);
      expect(await authenticate(answers[0]!.accessToken)).toEqual(await authenticate(tokens.accessToken));
      await use(answers[0]!.refreshToken);
    });

    it("gives the same answer again within the grace, and ends the session after it", async () => {
      const { user, tokens } = await registered(people);
      const successor = await use(tokens.refreshToken);
      test.clock.advance(9 * SECONDS);
      expect(await use(tokens.refreshToken)).toEqual(successor);
      test.clock.advance(2 * SECONDS);
      expect(await refusalOf(use(tokens.refreshToken))).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(await refusalOf(authenticate(successor.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      expect(await refusalOf(use(successor.refreshToken))).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(people.log.lines.filter((line) => line.level === "warn" && line.fields.user_id === user.id)).toEqual([
        {
          level: "warn",
          message: expect.stringContaining("used again"),
          fields: { session_id: expect.any(String), user_id: user.id, client_ip: ORIGIN.clientIp },
        },
      ]);
    });

    it("refuses whatever is no good token alike, and nothing of that ends the session", async () => {
      const { tokens } = await registered(people);
      const token = tokens.refreshToken;
      const resealed = (text: string) => text.slice(0, -6) + checksum62(text.slice(0, -6));
      const ended = await registered(people);
      await logout(people, { refreshToken: ended.tokens.refreshToken, clientIp: "" });
      const { sessionId } = await authenticate(tokens.accessToken);
      const secret = (await people.sessions.refreshSecret(sessionId))!;
      const otherRing = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
      const foreign = refreshTokenOf(otherRing, "kit", { ...secret, id: sessionId, generation: 1 });
      const refused = [
        "",
        "garbage",
        tokens.accessToken,
        `kit_live_${"a".repeat(65)}`,
        token.slice(0, -1),
        token.replace("kit_", "key_"),
        resealed(token.replace("_1_", "_2_")),
        resealed(token.replace(/_1_./, "_1_0")) === token
          ? resealed(token.replace(/_1_./, "_1_1"))
          : resealed(token.replace(/_1_./, "_1_0")),
        resealed(token.replace(/_ref_.{16}/, `_ref_${newId("ses").slice(4)}`)),
        foreign,
        ended.tokens.refreshToken,
      ];
      const refusals = await Promise.all(refused.map((each) => refusalOf(use(each))));
      expect(refusals[0]).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal))).size).toBe(1);
      await use(token);
    });

    it("expires when idle, and in the end also when used", async () => {
      const idle = await registered(people);
      expect(idle.tokens.refreshExpiresAtMs).toBeGreaterThan(test.clock.nowMs() + 6 * DAYS);
      let { tokens } = await registered(people);
      for (let day = 0; day < 30; day += 5) {
        test.clock.advance(5 * DAYS - SECONDS);
        tokens = await use(tokens.refreshToken);
      }
      expect(await refusalOf(use(idle.tokens.refreshToken))).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(tokens.accessExpiresAtMs).toBeLessThanOrEqual(tokens.refreshExpiresAtMs);
      test.clock.advance(6 * SECONDS);
      expect(await refusalOf(use(tokens.refreshToken))).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    });
  });

  describe("a session ends", () => {
    it("by Logout with any of its tokens, at once here and within 5 s elsewhere", async () => {
      const { tokens } = await registered(people);
      const other = elsewhere();
      const first = tokens.refreshToken;
      await refresh(people, { refreshToken: first, clientIp: "" });
      await authenticate(tokens.accessToken);
      await authenticate(tokens.accessToken, other);
      await logout(people, { refreshToken: first, clientIp: "" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      // Control: the other process was told nothing, and serves what it read.
      await authenticate(tokens.accessToken, other);
      test.clock.advance(5 * SECONDS);
      expect(await refusalOf(authenticate(tokens.accessToken, other))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    });

    it("not by a Logout with what is no token, which is fine all the same", async () => {
      const { tokens } = await registered(people);
      const forged = tokens.refreshToken.slice(0, -7) + (tokens.refreshToken.at(-7) === "0" ? "1" : "0");
      for (const refreshToken of ["", "garbage", tokens.accessToken, forged + checksum62(forged)]) {
        await logout(people, { refreshToken, clientIp: "" });
      }
      expect(await authenticate(tokens.accessToken)).toBeDefined();
    });

    it("by RevokeSession of its owner, and nobody else's", async () => {
      const mike = await registered(people);
      const stranger = await registered(people);
      const { userId, sessionId } = await authenticate(mike.tokens.accessToken);
      const revoke = (by: string, id: string) => revokeSession(people, { userId: by, sessionId: id, clientIp: "" });
      const refusals = [
        await refusalOf(revoke(stranger.user.id, sessionId)),
        await refusalOf(revoke(userId, newId("ses"))),
        await refusalOf(revoke(userId, "")),
        await refusalOf(revoke(userId, "ses_'; drop table sessions")),
      ];
      expect(new Set(refusals.map((each) => JSON.stringify(each))).size).toBe(1);
      expect(refusals[0]).toMatchObject({ reason: "SESSION_NOT_FOUND" });
      await authenticate(mike.tokens.accessToken);
      await revoke(userId, sessionId);
      await revoke(userId, sessionId);
      expect(await refusalOf(authenticate(mike.tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    });

    it("by DisableUser, and EnableUser does not bring it back but lets the person log in", async () => {
      const { user, tokens } = await registered(people);
      await authenticate(tokens.accessToken);
      expect(await disableUser(people, { userId: user.id, by: BY })).toMatchObject({ state: "disabled" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      const used = refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
      expect(await refusalOf(used)).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(await enableUser(people, { userId: user.id, by: BY })).toMatchObject({ state: "active" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      const again = await login(people, { email: user.email, password: PASSWORD, ...ORIGIN });
      expect(await authenticate(again.tokens.accessToken)).toMatchObject({ userId: user.id });
    });

    it("by ChangePassword, which begins a new one", async () => {
      const { user, tokens } = await registered(people);
      const change = { userId: user.id, currentPassword: PASSWORD, newPassword: OTHER_PASSWORD, ...ORIGIN };
      const changed = await changePassword(people, change);
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      expect(await authenticate(changed.accessToken)).toMatchObject({ userId: user.id });
      const old = login(people, { email: user.email, password: PASSWORD, ...ORIGIN });
      expect(await refusalOf(old)).toMatchObject({ reason: "LOGIN_FAILED" });
      await login(people, { email: user.email, password: OTHER_PASSWORD, ...ORIGIN });
    });
  });

  it("ChangePassword refuses a wrong current password and a weak new one, and changes nothing", async () => {
    const { user, tokens } = await registered(people);
    const change = (currentPassword: string, newPassword: string) =>
      refusalOf(changePassword(people, { userId: user.id, currentPassword, newPassword, ...ORIGIN }));
    expect(await change(OTHER_PASSWORD, OTHER_PASSWORD)).toMatchObject({ reason: "PASSWORD_WRONG" });
    expect(await change(PASSWORD, "passwordpassword")).toMatchObject({
      reason: "INVALID_FIELD",
      violations: [{ field: "new_password", reason: "PASSWORD_COMMON" }],
    });
    expect(await change(PASSWORD, user.email)).toMatchObject({ violations: [{ reason: "PASSWORD_IS_EMAIL" }] });
    expect(await authenticate(tokens.accessToken)).toBeDefined();
  });

  it("a created user sets a password with the reset token, once, and a weak password does not use it up", async () => {
    const email = freshEmail();
    const created = await createUser(people, {
      email,
      displayName: "Eve",
      tier: "pro",
      scopes: ["a", "b"],
      by: BY,
    });
    expect(created.user).toMatchObject({ email, tier: "pro", scopes: ["a", "b"], state: "active" });
    expect(created.resetExpiresAtMs).toBeGreaterThan(test.clock.nowMs());
    const complete = (resetToken: string, newPassword: string) =>
      completePasswordReset(people, { resetToken, newPassword, ...ORIGIN });
    expect(await refusalOf(complete(created.resetToken, "short"))).toMatchObject({ reason: "INVALID_FIELD" });
    const tokens = await complete(created.resetToken, PASSWORD);
    expect(await authenticate(tokens.accessToken)).toMatchObject({ userId: created.user.id });
    await login(people, { email, password: PASSWORD, ...ORIGIN });
    const before = people.passwords.hashes;
    const refusals = [
      await refusalOf(complete(created.resetToken, OTHER_PASSWORD)),
      await refusalOf(complete("", OTHER_PASSWORD)),
      await refusalOf(complete("garbage", OTHER_PASSWORD)),
      await refusalOf(complete(tokens.refreshToken, OTHER_PASSWORD)),
    ];
    expect(refusals[0]).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
    expect(new Set(refusals.map((each) => JSON.stringify(each))).size).toBe(1);
    expect(people.passwords.hashes).toBe(before);
  });

  it("operators find, list and update users, and are told what is wrong", async () => {
    const { user } = await registered(people);
    expect(await getUser(people, { userId: user.id })).toEqual(user);
    const byEmail = { email: user.email.toUpperCase(), size: 10, after: undefined };
    expect(await listUsers(people, byEmail)).toEqual({ items: [user], next: undefined });
    const first = await listUsers(people, { email: "", size: 1, after: undefined });
    expect(first.items).toHaveLength(1);
    expect(first.next).toEqual({ createdAtMs: first.items[0]?.createdAtMs, id: first.items[0]?.id });
    const update = (patch: Parameters<typeof updateUser>[1]["patch"], userId = user.id) =>
      updateUser(people, { userId, patch, by: BY });
    expect(await update({ tier: "enterprise", scopes: [] })).toMatchObject({ tier: "enterprise", scopes: [] });
    expect(await refusalOf(update({ tier: "gold" }))).toMatchObject({ violations: [{ field: "user.tier" }] });
    expect(await refusalOf(update({ scopes: ["ok", "not ok"] }))).toMatchObject({
      violations: [{ field: "user.scopes[1]" }],
    });
    expect(await refusalOf(update({ displayName: "x".repeat(65) }))).toMatchObject({
      violations: [{ field: "user.display_name" }],
    });
    for (const userId of [newId("usr"), "", "usr_'"]) {
      expect(await refusalOf(update({ tier: "pro" }, userId))).toMatchObject({ reason: "USER_NOT_FOUND" });
      expect(await refusalOf(getUser(people, { userId }))).toMatchObject({ reason: "USER_NOT_FOUND" });
      expect(await refusalOf(disableUser(people, { userId, by: BY }))).toMatchObject({ reason: "USER_NOT_FOUND" });
      expect(await refusalOf(enableUser(people, { userId, by: BY }))).toMatchObject({ reason: "USER_NOT_FOUND" });
    }
  });

  it("a person changes his own name and sees his sessions", async () => {
    const { user, tokens } = await registered(people);
    const caller = await authenticate(tokens.accessToken);
    await login(people, { email: user.email, password: PASSWORD, clientIp: "192.0.2.9", userAgent: "phone" });
    const changed = await updateCurrentUser(people, { ...caller, displayName: "Mikey", clientIp: "" });
    expect(changed).toEqual({ ...user, displayName: "Mikey" });
    const page = await listSessions(people, { userId: user.id, size: 1, after: undefined });
    expect(page.items).toMatchObject([{ userAgent: "phone", clientIp: "192.0.2.9" }]);
    const rest = await listSessions(people, { userId: user.id, size: 1, after: page.next });
    expect(rest).toMatchObject({ items: [{ id: caller.sessionId }], next: undefined });
  });

  it("a session that was refreshed elsewhere just before its end is not refused by an old copy", async () => {
    const { tokens } = await registered(people);
    const { sessionId } = await authenticate(tokens.accessToken);
    const other = elsewhere();
    test.clock.advance(7 * DAYS - 2 * SECONDS);
    const copied = await other.sessionCache.standing(sessionId);
    const renewed = await refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
    test.clock.advance(3 * SECONDS);
    expect(copied?.expiresAtMs).toBeLessThan(test.clock.nowMs());
    expect(await authenticate(renewed.accessToken, other)).toMatchObject({ sessionId });
  });

  it("a good signature is not enough: the session must be that person's, and not over", async () => {
    const [person, other] = [await registered(people), await registered(people)];
    const { sessionId } = await authenticate(person.tokens.accessToken);
    const issuedAtMs = test.clock.nowMs();
    const sign = (userId: string) =>
      signAccessToken(people, { userId, sessionId, tokenId: "t", issuedAtMs, expiresAtMs: issuedAtMs + 30 * DAYS });
    const [own, foreign] = [await sign(person.user.id), await sign(other.user.id)];
    expect(await authenticate(own)).toEqual({ userId: person.user.id, sessionId });
    expect(await refusalOf(authenticate(foreign))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    test.clock.advance(7 * DAYS);
    expect(await refusalOf(authenticate(own))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
  });

  it("a user who is not active is refused whatever his sessions say", async () => {
    const { user, tokens } = await registered(people);
    await test.database.run("update users set state = 'disabled' where id = ?", [user.id]);
    const other = authenticate(tokens.accessToken, elsewhere());
    expect(await refusalOf(other)).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    const used = refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
    expect(await refusalOf(used)).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
  });
});

describe.skipIf(!canOpen("postgres"))("when the database is away", () => {
  it("a token is neither good nor bad, and a known session is served no longer than 5 s", async () => {
    const { target } = await freshTarget("postgres");
    const url = new URL((target as { url: string }).url);
    await using proxy = await startFaultProxy(Number(url.port));
    url.port = `${proxy.port}`;
    await using test = await openTarget({ kind: "postgres", url: url.href, poolSize: 2 });
    const people = newPeople(test);
    const { tokens } = await registered(people);
    const stranger = await registered(people);
    const { sessionId } = await authenticateUser(people, { accessToken: tokens.accessToken });
    await proxy.cut();
    expect(await authenticateUser(people, { accessToken: tokens.accessToken })).toBeDefined();
    const unknown = authenticateUser(people, { accessToken: stranger.tokens.accessToken });
    expect(await refusalOf(unknown)).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    test.clock.advance(5 * SECONDS);
    const known = authenticateUser(people, { accessToken: tokens.accessToken });
    expect(await refusalOf(known)).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    const standing = people.sessionCache.standing(sessionId);
    expect(await refusalOf(standing)).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    const used = refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
    expect(await refusalOf(used)).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    const before = people.passwords.hashes;
    const tried = login(people, { email: stranger.user.email, password: PASSWORD, ...ORIGIN });
    expect(await refusalOf(tried)).toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(people.passwords.hashes).toBe(before);
    await proxy.restore();
    // Past the pause between two tries of the breaker.
    test.clock.advance(SECONDS);
    expect(await authenticateUser(people, { accessToken: tokens.accessToken })).toBeDefined();
  });
});
