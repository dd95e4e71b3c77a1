/** What is left to the owner of an account that others have tried until no more may: the address of a login, and a token. */
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, startTestService, type TestService } from "../support/service.ts";

const WRONG = "violet harbour engine quilt";
const NEW_PASSWORD = "another one that is just as odd";
const MINUTES = 60_000;
const DAYS = 86_400_000;

describe("an account that is closed by 90 guesses from anywhere and 10 from the owner's own /24", () => {
  let service: TestService;
  let numbers = 0;
  beforeAll(async () => {
    service = await startTestService({
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
    });
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;
  const from = (ip: string) => ({ headers: { "x-forwarded-for": ip } });
  const anyone = () => service.client(AuthService);

  /** How a login ends: the reason of its refusal, or OK. On a busy machine some wait too long for their hash. */
  async function tryLogin(email: string, password: string, ip: string, refreshToken = ""): Promise<string> {
    const call = anyone().login({ email, password, refreshToken }, from(ip));
    const end = await call.then(
      () => "OK",
      async (error: unknown) => (await errorOf(Promise.reject(error))).reason ?? "",
    );
    return end === "OVERLOADED" ? tryLogin(email, password, ip, refreshToken) : end;
  }

  /** An owner at 192.0.x.10, and neighbours of theirs. */
  async function newOwner() {
    const site = `192.0.${++numbers & 255}`;
    const email = `owner-${numbers}@example.com`;
    const home = `${site}.10`;
    const { tokens, user } = await anyone().register({ email, password: PASSWORD }, from(home));
    return { email, home, site, tokens: tokens!, userId: user!.id };
  }

  async function close({ email, site }: { readonly email: string; readonly site: string }): Promise<void> {
    for (let n = 0; n < 90; n += 5) {
      const ends = await Promise.all(Array.from({ length: 5 }, () => tryLogin(email, WRONG, freshIp())));
      expect(new Set(ends)).toEqual(new Set(["LOGIN_FAILED"]));
    }
    for (let n = 0; n < 10; n++) {
      service.clock.advance(15 * MINUTES);
      expect(await tryLogin(email, WRONG, `${site}.${100 + n}`)).toBe("LOGIN_FAILED");
    }
    expect(await tryLogin(email, PASSWORD, `${site}.99`)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(email, PASSWORD, freshIp())).toBe("TOO_MANY_ATTEMPTS");
  }

  it("still takes the owner's password from the very address that logged in, at once", async () => {
    const owner = await newOwner();
    await close(owner);
    expect(await tryLogin(owner.email, PASSWORD, owner.home)).toBe("OK");
    expect(await tryLogin(owner.email, PASSWORD, freshIp())).toBe("OK");
  }, 60_000);

  it("takes ten wrong passwords more from that address, and then none: a token is left", async () => {
    const owner = await newOwner();
    await close(owner);
    const ends: string[] = [];
    for (let n = 0; n < 12; n++) {
      ends.push(await tryLogin(owner.email, WRONG, owner.home));
      service.clock.advance(15 * MINUTES);
    }
    expect(ends).toEqual([...Array(10).fill("LOGIN_FAILED"), ...Array(2).fill("TOO_MANY_ATTEMPTS")]);
    expect(await tryLogin(owner.email, PASSWORD, owner.home)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(owner.email, PASSWORD, owner.home, owner.tokens.refreshToken)).toBe("OK");
  }, 60_000);

  it("takes the owner's password from anywhere with a refresh token of theirs: live, exchanged or lapsed, and leaves it as it is", async () => {
    const owner = await newOwner();
    const first = owner.tokens.refreshToken;
    const { tokens } = await anyone().refresh({ refreshToken: first });
    service.clock.advance(MINUTES);
    await close(owner);
    expect(await tryLogin(owner.email, WRONG, freshIp(), first)).toBe("LOGIN_FAILED");
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), tokens!.refreshToken)).toBe("OK");
    // It was neither exchanged nor taken for a second use.
    const { tokens: next } = await anyone().refresh({ refreshToken: tokens!.refreshToken });
    await close(owner);
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), first)).toBe("OK");
    service.clock.advance(8 * DAYS);
    await close(owner);
    expect(await errorOf(anyone().refresh({ refreshToken: next!.refreshToken }))).toMatchObject({
      code: Code.Unauthenticated,
    });
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), next!.refreshToken)).toBe("OK");
  }, 120_000);

  it("takes no token that shows nothing: made up, of another account, logged out, revoked, used twice, or of another password", async () => {
    const [owner, other] = [await newOwner(), await newOwner()];
    const logIn = async () =>
      (await anyone().login({ email: owner.email, password: PASSWORD }, from(owner.home))).tokens!;
    const { refreshToken } = owner.tokens;
    const [loggedOut, revoked, reused] = [await logIn(), await logIn(), await logIn()];
    await anyone().logout({ refreshToken: loggedOut.refreshToken });
    const me = service.client(AuthService, revoked.accessToken);
    const { sessions } = await me.listSessions({});
    await me.revokeSession({ sessionId: sessions.find(({ current }) => current)!.id });
    await anyone().refresh({ refreshToken: reused.refreshToken });
    service.clock.advance(MINUTES);
    await errorOf(anyone().refresh({ refreshToken: reused.refreshToken }));
    await close(owner);
    // Of a session that never was: form and checksum are good.
    const foreign = other.tokens.refreshToken;
    const refused = { loggedOut: loggedOut.refreshToken, revoked: revoked.refreshToken, reused: reused.refreshToken };
    for (const [what, token] of Object.entries({
      ...refused,
      foreign,
      text: "kit_ref_garbage",
      long: "x".repeat(9999),
    })) {
      expect(await tryLogin(owner.email, PASSWORD, freshIp(), token), what).toBe("TOO_MANY_ATTEMPTS");
    }
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), refreshToken)).toBe("OK");
    const { tokens } = await anyone().login({ email: owner.email, password: PASSWORD }, from(owner.home));
    const change = { currentPassword: PASSWORD, newPassword: NEW_PASSWORD };
    await service.client(AuthService, tokens!.accessToken).changePassword(change, from(owner.home));
    await service.client(AdminService, service.admin).clearLoginFailures({ userId: owner.userId });
    await close(owner);
    expect(await tryLogin(owner.email, NEW_PASSWORD, freshIp(), refreshToken)).toBe("TOO_MANY_ATTEMPTS");
  }, 120_000);

  it("answers a token for an account that does not exist as any other attempt", async () => {
    const { tokens } = await newOwner();
    const nobody = { email: `nobody-${++numbers}@example.com`, site: `192.1.${numbers & 255}` };
    const ip = freshIp();
    for (let n = 0; n < 5; n++) {
      expect(await tryLogin(nobody.email, WRONG, ip, tokens.refreshToken)).toBe("LOGIN_FAILED");
    }
    expect(await tryLogin(nobody.email, WRONG, ip, tokens.refreshToken)).toBe("TOO_MANY_ATTEMPTS");
  });
});
