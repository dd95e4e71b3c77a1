import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
import { updateCurrentUser } from "../../src/auth/update-current-user.ts";
import { updateUser } from "../../src/auth/update-user.ts";
import { newId } from "../../src/lib/id.ts";
import type { TestDatabase } from "../support/database.ts";
import {
  freshEmail,
  OPERATOR,
  ORIGIN,
  OTHER_PASSWORD,
  openPeople,
  PASSWORD,
  type People,
  PREFERRED_KIND,
  refusalOf,
  registered,
} from "../support/people.ts";

describe(`people, on ${PREFERRED_KIND}`, () => {
  let test: TestDatabase;
  let people: People;
  beforeAll(async () => {
    ({ test, people } = await openPeople());
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const authenticate = (accessToken: string, at = people) => authenticateUser(at, { accessToken });

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

    it("refuses the same address in another ASCII case, and accepts one that only looks like it", async () => {
      const email = `mike.${freshEmail()}`;
      await registered(people, { email });
      expect(await refusalOf(registered(people, { email: email.toUpperCase() }))).toMatchObject({
        reason: "EMAIL_TAKEN",
      });
      await registered(people, { email: email.replace("mike", "mıke") });
    });

    it("names all faults at once, and costs no hash if there is one", async () => {
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
    it("accepts any ASCII case of the address and any normal form of the password", async () => {
      const email = freshEmail();
      await registered(people, { email, password: "caf\u00e9 noir et tarte" });
      const { tokens } = await login(people, {
        email: email.toUpperCase(),
        password: "cafe\u0301 noir et tarte",
        ...ORIGIN,
      });
      expect(await authenticate(tokens.accessToken)).toBeDefined();
    });

    it("gives an unknown address, a wrong password and a disabled account one answer, for one hash each", async () => {
      const email = freshEmail();
      await registered(people, { email });
      const disabled = await registered(people);
      await disableUser(people, { userId: disabled.user.id, by: OPERATOR });
      const created = freshEmail();
      await createUser(people, { email: created, displayName: "", tier: "", scopes: [], by: OPERATOR });
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
    ])("names the field %s if its text can't be one, and costs no hash", async (field, email, password) => {
      const before = people.passwords.hashes;
      const refusal = await refusalOf(login(people, { email, password, ...ORIGIN }));
      expect(refusal).toMatchObject({ reason: "INVALID_FIELD", violations: [{ field }] });
      expect(people.passwords.hashes).toBe(before);
    });

    it("hashes a password again, once, after the parameters rose", async () => {
      const email = freshEmail();
      await registered(people, { email });
      const { PasswordHasher } = await import("../../src/auth/passwords/password.ts");
      const { ring, log } = people;
      const passwords = new PasswordHasher({ ring, log, memoryKib: 2048, passes: 2, concurrency: 1 });
      const raised = { ...people, passwords };
      await login(raised, { email, password: PASSWORD, ...ORIGIN });
      expect(passwords.hashes).toBe(2);
      await login(raised, { email, password: PASSWORD, ...ORIGIN });
      expect(passwords.hashes).toBe(3);
    });

    it("costs no hash once it is throttled, and answers alike for accounts that don't exist", async () => {
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

  it("keep their password if the current one is wrong or the new one is weak", async () => {
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

  it("set a password with the reset token of CreateUser, once; a weak password does not use the token up", async () => {
    const email = freshEmail();
    const created = await createUser(people, {
      email,
      displayName: "Eve",
      tier: "pro",
      scopes: ["a", "b"],
      by: OPERATOR,
    });
    expect(created.user).toMatchObject({ email, tier: "pro", scopes: ["a", "b"], state: "active" });
    expect(created.resetExpiresAtMs).toBeGreaterThan(test.clock.nowMs());
    const complete = (resetToken: string, newPassword: string) =>
      completePasswordReset(people, { resetToken, newPassword, ...ORIGIN });
    expect(await refusalOf(complete(created.resetToken, "short"))).toMatchObject({ reason: "INVALID_FIELD" });
    const { tokens } = await complete(created.resetToken, PASSWORD);
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

  it("are found, listed and updated by operators, who are told about faults", async () => {
    const { user } = await registered(people);
    expect(await getUser(people, { userId: user.id })).toEqual(user);
    const byEmail = { email: user.email.toUpperCase(), size: 10, after: undefined };
    expect(await listUsers(people, byEmail)).toEqual({ items: [user], next: undefined });
    const first = await listUsers(people, { email: "", size: 1, after: undefined });
    expect(first.items).toHaveLength(1);
    expect(first.next).toEqual({ createdAtMs: first.items[0]?.createdAtMs, id: first.items[0]?.id });
    const update = (patch: Parameters<typeof updateUser>[1]["patch"], userId = user.id) =>
      updateUser(people, { userId, patch, by: OPERATOR });
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
      expect(await refusalOf(disableUser(people, { userId, by: OPERATOR }))).toMatchObject({
        reason: "USER_NOT_FOUND",
      });
      expect(await refusalOf(enableUser(people, { userId, by: OPERATOR }))).toMatchObject({ reason: "USER_NOT_FOUND" });
    }
  });

  it("change their own name and list their sessions", async () => {
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
});
