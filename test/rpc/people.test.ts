import { type Client, Code } from "@connectrpc/connect";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { User_State } from "../../src/gen/latchkey/v1/user_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";

const NEW_PASSWORD = "another one that is just as odd";

describe("users", () => {
  let service: TestService;
  let anyone: Client<typeof AuthService>;
  let admin: Client<typeof AdminService>;
  beforeAll(async () => {
    service = await startTestService();
    anyone = service.client(AuthService);
    admin = service.client(AdminService, service.admin);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const knows = (token: string) => service.client(AuthService, token).getCurrentUser({});

  it("register, have a session at once, and log in again with any case of their address", async () => {
    const { user, tokens } = await anyone.register({
      email: "Ada@Example.com",
      password: PASSWORD,
      displayName: "Ada",
    });
    expect(user).toMatchObject({
      email: "Ada@Example.com",
      displayName: "Ada",
      tier: "basic",
      state: User_State.ACTIVE,
    });
    expect(tokens).toMatchObject({ tokenType: "Bearer" });
    expect((await knows(tokens!.accessToken)).user).toEqual(user);
    const again = await anyone.login({ email: "aDA@eXAMPLE.COM", password: PASSWORD });
    expect(again.user).toEqual(user);
    const taken = await errorOf(anyone.register({ email: "ada@example.com", password: PASSWORD }));
    expect(taken).toMatchObject({ code: Code.AlreadyExists, reason: "EMAIL_TAKEN" });
  });

  it("learn nothing from a failed login", async () => {
    const person = await service.newPerson();
    const disabled = await service.newPerson();
    await admin.disableUser({ userId: disabled.user.id });
    // One after another, because a busy machine may refuse a third at once as OVERLOADED.
    const answers = [
      await errorOf(anyone.login({ email: "nobody@example.com", password: PASSWORD })),
      await errorOf(anyone.login({ email: person.email, password: `${PASSWORD} ` })),
      await errorOf(anyone.login({ email: disabled.email, password: PASSWORD })),
    ];
    expect(answers[0]).toMatchObject({ code: Code.Unauthenticated, reason: "LOGIN_FAILED" });
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  });

  it("receive access tokens that other services verify with the published keys alone", async () => {
    const person = await service.newPerson();
    const response = await fetch(`http://${service.address}/.well-known/jwks.json`);
    expect(response.headers.get("cache-control")).toContain("max-age=300");
    const keys = createLocalJWKSet((await response.json()) as JSONWebKeySet);
    const { payload, protectedHeader } = await jwtVerify(person.tokens.accessToken, keys, {
      algorithms: ["EdDSA"],
      issuer: "http://localhost:8080",
      audience: "latchkey",
      typ: "at+jwt",
    });
    expect(payload).toMatchObject({ sub: person.user.id, client_id: "latchkey" });
    expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(1800);
    expect(protectedHeader.kid).toMatch(/^[\w-]{43}$/);
  });

  it("refresh with one successor for fifty calls at once, and a stolen token ends the session", async () => {
    const person = await service.newPerson();
    const { refreshToken } = person.tokens;
    const answers = await Promise.all(Array.from({ length: 50 }, () => anyone.refresh({ refreshToken })));
    expect(new Set(answers.map(({ tokens }) => tokens!.refreshToken)).size).toBe(1);
    const next = answers[0]!.tokens!;
    service.clock.advance(11_000);
    const refused = await errorOf(anyone.refresh({ refreshToken }));
    expect(refused).toMatchObject({ code: Code.Unauthenticated, reason: "REFRESH_TOKEN_INVALID" });
    expect(await errorOf(anyone.refresh({ refreshToken: next.refreshToken }))).toEqual(refused);
    expect(await errorOf(knows(next.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    for (const forged of ["", "garbage", person.tokens.accessToken, service.admin, `${refreshToken}x`]) {
      expect(await errorOf(anyone.refresh({ refreshToken: forged }))).toEqual(refused);
    }
  });

  it("log out, also twice and with a text that is not a token", async () => {
    const person = await service.newPerson();
    await anyone.logout({ refreshToken: person.tokens.refreshToken });
    await anyone.logout({ refreshToken: person.tokens.refreshToken });
    await anyone.logout({ refreshToken: "garbage" });
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
  });

  it("list and end their own sessions, and no other user's", async () => {
    const person = await service.newPerson();
    const stranger = await service.newPerson();
    const other = await anyone.login({ email: person.email, password: PASSWORD });
    const { sessions } = await person.auth.listSessions({});
    expect(sessions.map(({ current }) => current)).toEqual([false, true]);
    const foreign = await errorOf(stranger.auth.revokeSession({ sessionId: sessions[0]!.id }));
    expect(foreign).toMatchObject({ code: Code.NotFound, reason: "SESSION_NOT_FOUND" });
    await person.auth.revokeSession({ sessionId: sessions[0]!.id });
    expect(await errorOf(knows(other.tokens!.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    expect((await person.auth.listSessions({})).sessions).toHaveLength(1);
  });

  it("change their password, which ends every session except the new one", async () => {
    const person = await service.newPerson();
    const wrong = await errorOf(
      person.auth.changePassword({ currentPassword: "not this one, no", newPassword: NEW_PASSWORD }),
    );
    expect(wrong).toMatchObject({ code: Code.Unauthenticated, reason: "PASSWORD_WRONG" });
    const change = { currentPassword: PASSWORD, newPassword: NEW_PASSWORD };
    const { tokens } = await person.auth.changePassword(change);
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    expect((await knows(tokens!.accessToken)).user?.id).toBe(person.user.id);
    expect(await errorOf(anyone.login({ email: person.email, password: PASSWORD }))).toMatchObject({
      reason: "LOGIN_FAILED",
    });
    await anyone.login({ email: person.email, password: NEW_PASSWORD });
  });

  it("change their name, and no other field", async () => {
    const { auth } = await service.newPerson();
    const renamed = await auth.updateCurrentUser({
      user: { displayName: "N" },
      updateMask: { paths: ["display_name"] },
    });
    expect(renamed.user?.displayName).toBe("N");
    for (const paths of [["tier"], ["scopes"], ["email"], []]) {
      const refused = await errorOf(auth.updateCurrentUser({ user: { tier: "enterprise" }, updateMask: { paths } }));
      expect(refused).toMatchObject({ code: Code.InvalidArgument, fields: ["update_mask"] });
    }
  });

  it("are created by operators, with a one-time token that sets a password", async () => {
    const email = "made@example.com";
    const { user, resetToken } = await admin.createUser({
      email,
      displayName: "Made",
      tier: "pro",
      scopes: ["orders:*"],
    });
    expect(user).toMatchObject({ email, tier: "pro", scopes: ["orders:*"] });
    expect(await errorOf(anyone.login({ email, password: PASSWORD }))).toMatchObject({ reason: "LOGIN_FAILED" });
    const weak = await errorOf(anyone.completePasswordReset({ resetToken, newPassword: "short" }));
    expect(weak).toMatchObject({ code: Code.InvalidArgument, fields: ["new_password"] });
    await anyone.completePasswordReset({ resetToken, newPassword: PASSWORD });
    await anyone.login({ email, password: PASSWORD });
    const again = await errorOf(anyone.completePasswordReset({ resetToken, newPassword: NEW_PASSWORD }));
    expect(again).toMatchObject({ code: Code.Unauthenticated, reason: "RESET_TOKEN_INVALID" });
    expect(await errorOf(admin.createUser({ email: "MADE@example.com" }))).toMatchObject({ code: Code.AlreadyExists });
    expect(await errorOf(admin.createUser({ email: "t@example.com", tier: "none" }))).toMatchObject({
      fields: ["tier"],
    });
  });

  it("are disabled and enabled by operators, found and listed", async () => {
    const person = await service.newPerson();
    const userId = person.user.id;
    expect((await admin.disableUser({ userId })).user?.state).toBe(User_State.DISABLED);
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    expect(await errorOf(anyone.refresh({ refreshToken: person.tokens.refreshToken }))).toMatchObject({
      code: Code.Unauthenticated,
    });
    expect((await admin.disableUser({ userId })).user?.state).toBe(User_State.DISABLED);
    expect((await admin.enableUser({ userId })).user?.state).toBe(User_State.ACTIVE);
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    await anyone.login({ email: person.email, password: PASSWORD });
    expect((await admin.listUsers({ email: person.email.toUpperCase() })).users.map(({ id }) => id)).toEqual([userId]);
    expect((await admin.getUser({ userId })).user?.id).toBe(userId);
    const unknown = await errorOf(admin.getUser({ userId: "usr_AAAAAAAAAAAAAAAA" }));
    expect(unknown).toMatchObject({ code: Code.NotFound, reason: "USER_NOT_FOUND" });
  });

  it("keep their sessions and keys across a restart", async () => {
    const { apiKey, key, person } = await service.newKey();
    await service.restart();
    expect((await service.client(AuthService, person.tokens.accessToken).getCurrentUser({})).user?.id).toBe(
      person.user.id,
    );
    const tokens = await service.client(AuthService).refresh({ refreshToken: person.tokens.refreshToken });
    expect(tokens.tokens?.refreshToken).not.toBe(person.tokens.refreshToken);
    const keys = service.client(KeyService, service.admin);
    expect(await keys.verifyKey({ apiKey })).toMatchObject({ valid: true, key: { id: key!.id } });
  });

  it("never appear in the log with a password, a token, a key or an e-mail address", async () => {
    const { apiKey, person } = await service.newKey();
    await errorOf(service.client(AuthService).login({ email: person.email, password: `wrong ${PASSWORD}` }));
    const log = JSON.stringify(service.lines);
    expect(log).toContain(person.user.id);
    for (const secret of [
      PASSWORD,
      person.email,
      person.tokens.accessToken,
      person.tokens.refreshToken,
      apiKey.slice(25),
      service.admin.slice(24),
    ]) {
      expect(log).not.toContain(secret);
    }
  });
});

describe("users, if registration is closed,", () => {
  it("are created by operators only", async () => {
    await using service = await startTestService({ LATCHKEY_REGISTRATION: "closed" });
    const refused = await errorOf(service.client(AuthService).register({ email: "a@example.com", password: PASSWORD }));
    expect(refused).toMatchObject({ code: Code.PermissionDenied, reason: "REGISTRATION_CLOSED" });
    await service.client(AdminService, service.admin).createUser({ email: "a@example.com" });
  });
});
