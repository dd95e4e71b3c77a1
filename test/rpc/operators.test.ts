import { type Client, Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/in-process-service.ts";
import { type RedisServer, startRedis } from "../support/own-redis.ts";
import { canStart } from "../support/shared-servers.ts";

const NEW_PASSWORD = "another one that is just as odd";
const DAY_MS = 86_400_000;
const NOBODY = "usr_AAAAAAAAAAAAAAAA";

describe("operators", () => {
  let service: TestService;
  let admin: Client<typeof AdminService>;
  let anyone: Client<typeof AuthService>;
  beforeAll(async () => {
    service = await startTestService();
    admin = service.client(AdminService, service.admin);
    anyone = service.client(AuthService);
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const knows = (token: string) => service.client(AuthService, token).getCurrentUser({});
  const login = (email: string, password = PASSWORD) => anyone.login({ email, password });
  const reset = (resetToken: string, newPassword = NEW_PASSWORD) =>
    anyone.completePasswordReset({ resetToken, newPassword });

  it("give a user a token that sets a new password once", async () => {
    const person = await service.newPerson();
    const { resetToken, expireTime } = await admin.createPasswordReset({ userId: person.user.id });
    const lifeMs = Number(expireTime!.seconds) * 1000 - service.clock.nowMs();
    expect(Math.abs(lifeMs - DAY_MS)).toBeLessThan(10_000);
    const { events } = await admin.listAuditEvents({ subjectId: person.user.id });
    expect(events[0]).toMatchObject({ kind: "user.reset_token_created", actorId: expect.stringMatching(/^svc_/) });
    // Nothing changes before the token is used.
    await knows(person.tokens.accessToken);
    await login(person.email);
    const { tokens } = await reset(resetToken);
    expect((await knows(tokens!.accessToken)).user?.id).toBe(person.user.id);
    expect(await errorOf(knows(person.tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    expect(await errorOf(login(person.email))).toMatchObject({ reason: "LOGIN_FAILED" });
    await login(person.email, NEW_PASSWORD);
    expect(await errorOf(reset(resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
  });

  it("replace a token by a newer one, and a token expires after a day", async () => {
    const { user } = await service.newPerson();
    const first = await admin.createPasswordReset({ userId: user.id });
    const second = await admin.createPasswordReset({ userId: user.id });
    expect(await errorOf(reset(first.resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
    service.clock.advance(DAY_MS - 60_000);
    const third = await admin.createPasswordReset({ userId: user.id });
    service.clock.advance(120_000);
    expect(await errorOf(reset(second.resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
    await reset(third.resetToken);
    const fourth = await admin.createPasswordReset({ userId: user.id });
    service.clock.advance(DAY_MS);
    expect(await errorOf(reset(fourth.resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
  });

  it("cannot give a token to a disabled user, whose earlier token is no longer valid", async () => {
    const { user } = await service.newPerson();
    const { resetToken } = await admin.createPasswordReset({ userId: user.id });
    await admin.disableUser({ userId: user.id });
    expect(await errorOf(reset(resetToken))).toMatchObject({ reason: "RESET_TOKEN_INVALID" });
    const refused = await errorOf(admin.createPasswordReset({ userId: user.id }));
    expect(refused).toMatchObject({ code: Code.FailedPrecondition, reason: "USER_DISABLED" });
  });

  it("end all sessions of a user, who may log in again", async () => {
    const person = await service.newPerson();
    const other = await service.newPerson();
    const second = await login(person.email);
    const userId = person.user.id;
    await admin.endUserSessions({ userId });
    for (const tokens of [person.tokens, second.tokens!]) {
      expect(await errorOf(knows(tokens.accessToken))).toMatchObject({ code: Code.Unauthenticated });
      const refused = await errorOf(anyone.refresh({ refreshToken: tokens.refreshToken }));
      expect(refused).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
    }
    await knows(other.tokens.accessToken);
    const again = await login(person.email);
    await knows(again.tokens!.accessToken);
    await admin.endUserSessions({ userId });
    await admin.endUserSessions({ userId });
    expect(await errorOf(knows(again.tokens!.accessToken))).toMatchObject({ code: Code.Unauthenticated });
    const { events } = await admin.listAuditEvents({ subjectId: userId });
    const ends = events.filter(({ kind }) => kind === "session.ended");
    expect(ends.map(({ details }) => details)).toEqual([
      { reason: "ended_by_operator", sessions: "1" },
      { reason: "ended_by_operator", sessions: "2" },
    ]);
  });

  it("receive USER_NOT_FOUND for an unknown user, whatever form the id has", async () => {
    for (const userId of [NOBODY, "", "a\0b", service.admin.slice(0, 24)]) {
      // One after another, because a rejection that is not yet awaited would end the run.
      for (const ask of [admin.createPasswordReset, admin.endUserSessions]) {
        expect(await errorOf(ask({ userId }))).toMatchObject({ code: Code.NotFound, reason: "USER_NOT_FOUND" });
      }
    }
  });

  it("reset the limits of one key, and of no other", async () => {
    const { apiKey, key } = await service.newKey();
    const other = await service.newKey();
    const verify = (raw: string, cost: number) =>
      service.client(KeyService, service.admin).verifyKey({ apiKey: raw, cost });
    for (const raw of [apiKey, other.apiKey]) {
      await verify(raw, 20);
      expect((await verify(raw, 1)).verdict).toBe(Verdict.RATE_LIMITED);
    }
    await admin.resetRateLimits({ keyId: key!.id });
    expect((await verify(apiKey, 20)).verdict).toBe(Verdict.VALID);
    expect((await verify(other.apiKey, 1)).verdict).toBe(Verdict.RATE_LIMITED);
    const { events } = await admin.listAuditEvents({ subjectId: key!.id });
    expect(events[0]).toMatchObject({ kind: "key.limits_reset", actorId: expect.stringMatching(/^svc_/) });
    for (const keyId of ["key_AAAAAAAAAAAAAAAA", "", "a\0b"]) {
      const refused = await errorOf(admin.resetRateLimits({ keyId }));
      expect(refused).toMatchObject({ code: Code.NotFound, reason: "KEY_NOT_FOUND" });
    }
  });
});

describe.runIf(canStart("redis"))("operators while Redis is unreachable", () => {
  let redis: RedisServer;
  let service: TestService;
  beforeAll(async () => {
    redis = await startRedis();
    service = await startTestService({ REDIS_URL: `redis://127.0.0.1:${redis.port}` });
  });
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]();
    await redis?.stop();
  });

  it("receive LIMITS_UNAVAILABLE for a reset, while keys still verify", async () => {
    const { apiKey, key } = await service.newKey();
    const admin = service.client(AdminService, service.admin);
    await admin.resetRateLimits({ keyId: key!.id });
    await redis.stop();
    const refused = await errorOf(admin.resetRateLimits({ keyId: key!.id }));
    expect(refused).toMatchObject({ code: Code.Unavailable, reason: "LIMITS_UNAVAILABLE", hasRetryInfo: true });
    expect(await service.client(KeyService, service.admin).verifyKey({ apiKey })).toMatchObject({ valid: true });
  });
});
