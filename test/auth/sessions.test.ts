import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authenticateUser } from "../../src/auth/authenticate-user.ts";
import { changePassword } from "../../src/auth/change-password.ts";
import { disableUser } from "../../src/auth/disable-user.ts";
import { enableUser } from "../../src/auth/enable-user.ts";
import { login } from "../../src/auth/login.ts";
import { logout } from "../../src/auth/logout.ts";
import { refresh } from "../../src/auth/refresh.ts";
import { revokeSession } from "../../src/auth/revoke-session.ts";
import { signAccessToken } from "../../src/auth/tokens/access-token.ts";
import { refreshTokenOf } from "../../src/auth/tokens/refresh-token.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { newId } from "../../src/lib/id.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { freshUrl, openTarget, postgresTarget, type TestDatabase } from "../support/database.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import {
  DAYS,
  newPeople,
  OPERATOR,
  ORIGIN,
  OTHER_PASSWORD,
  openPeople,
  PASSWORD,
  type People,
  PREFERRED_KIND,
  refusalOf,
  registered,
  SECONDS,
} from "../support/people.ts";
import { canStart } from "../support/shared-servers.ts";
import { eventually } from "../support/until.ts";

describe(`sessions, on ${PREFERRED_KIND}`, () => {
  let test: TestDatabase;
  let people: People;
  beforeAll(async () => {
    ({ test, people } = await openPeople());
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const authenticate = (accessToken: string, at = people) => authenticateUser(at, { accessToken });

  /** Another process, which learns of no change. */
  const elsewhere = () => newPeople(test, { ring: people.ring, told: false });

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

    it("gives the same answer again within the grace, and ends the session if the token comes later", async () => {
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

    it("gives every invalid token the same answer, and none of them ends the session", async () => {
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

    it("is refused after the idle time, and after the absolute time even if used", async () => {
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

  describe("a session", () => {
    it("ends by Logout with any of its tokens, at once in this process and within 5 s in others", async () => {
      const { tokens } = await registered(people);
      const other = elsewhere();
      const first = tokens.refreshToken;
      await refresh(people, { refreshToken: first, clientIp: "" });
      await authenticate(tokens.accessToken);
      await authenticate(tokens.accessToken, other);
      await logout(people, { refreshToken: first, clientIp: "" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      // Control: the other process learned of no change, and still accepts what it read.
      await authenticate(tokens.accessToken, other);
      test.clock.advance(5 * SECONDS);
      expect(await refusalOf(authenticate(tokens.accessToken, other))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    });

    it("does not end by a Logout with a text that is no token, which is no error", async () => {
      const { tokens } = await registered(people);
      const forged = tokens.refreshToken.slice(0, -7) + (tokens.refreshToken.at(-7) === "0" ? "1" : "0");
      for (const refreshToken of ["", "garbage", tokens.accessToken, forged + checksum62(forged)]) {
        await logout(people, { refreshToken, clientIp: "" });
      }
      expect(await authenticate(tokens.accessToken)).toBeDefined();
    });

    it("ends by RevokeSession of its owner, and of no other user", async () => {
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

    it("ends by DisableUser; EnableUser does not bring it back, but lets the person log in", async () => {
      const { user, tokens } = await registered(people);
      await authenticate(tokens.accessToken);
      expect(await disableUser(people, { userId: user.id, by: OPERATOR })).toMatchObject({ state: "disabled" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      const used = refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
      expect(await refusalOf(used)).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
      expect(await enableUser(people, { userId: user.id, by: OPERATOR })).toMatchObject({ state: "active" });
      expect(await refusalOf(authenticate(tokens.accessToken))).toMatchObject({ reason: "CREDENTIAL_INVALID" });
      const again = await login(people, { email: user.email, password: PASSWORD, ...ORIGIN });
      expect(await authenticate(again.tokens.accessToken)).toMatchObject({ userId: user.id });
    });

    it("ends by ChangePassword, which begins a new one", async () => {
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

  it("are accepted after a refresh by another process, although the copy here has passed its end", async () => {
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

  it("are refused in spite of a valid signature if they are another user's or have lapsed", async () => {
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

  it("are refused if their user is not active", async () => {
    const { user, tokens } = await registered(people);
    await test.database.write("update users set state = 'disabled' where id = ?", [user.id]);
    const other = authenticate(tokens.accessToken, elsewhere());
    expect(await refusalOf(other)).toMatchObject({ reason: "CREDENTIAL_INVALID" });
    const used = refresh(people, { refreshToken: tokens.refreshToken, clientIp: "" });
    expect(await refusalOf(used)).toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
  });
});

describe.skipIf(!canStart("postgres"))("while the database is unreachable", () => {
  it("tokens are neither accepted nor refused, and a known session is accepted for at most 5 s", async () => {
    const url = new URL(await freshUrl());
    await using proxy = await startFaultProxy(Number(url.port));
    url.port = `${proxy.port}`;
    await using test = await openTarget(postgresTarget(url.href, 2));
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
    // The breaker's own probe finds that the database answers again.
    await eventually(() => expect(people.breaker.isOpen).toBe(false));
    expect(await authenticateUser(people, { accessToken: tokens.accessToken })).toBeDefined();
  });
});
