/** The logins that an account's owner still has after others' guesses have closed it: by a known address, or a token. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changePassword } from "../../src/auth/change-password.ts";
import { login } from "../../src/auth/login.ts";
import { logout } from "../../src/auth/logout.ts";
import { refresh } from "../../src/auth/refresh.ts";
import { revokeSession } from "../../src/auth/revoke-session.ts";
import { digestsOf } from "../../src/auth/throttle/login-attempt.ts";
import { networkOf } from "../../src/auth/throttle/login-network.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DAYS, newPeople, PASSWORD, type People, PREFERRED_KIND, registered, SECONDS } from "../support/people.ts";

const WRONG = "violet harbour engine quilt";
const NEW_PASSWORD = "another one that is just as odd";
const MINUTES = 60 * SECONDS;

describe(`an account that is closed by 90 guesses from anywhere and 10 from the owner's own /24, on ${PREFERRED_KIND}`, () => {
  let test: TestDatabase;
  let people: People;
  let store: PostgresLoginFailureStore;
  let numbers = 0;
  beforeAll(async () => {
    test = await openDatabase(PREFERRED_KIND);
    people = newPeople(test);
    store = new PostgresLoginFailureStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const freshIp = () => `10.${++numbers >> 8}.${numbers & 255}.1`;

  function tryLogin(email: string, password: string, clientIp: string, refreshToken = ""): Promise<string> {
    return login(people, { email, password, clientIp, userAgent: "", refreshToken }).then(
      () => "OK",
      (error: unknown) => {
        if (!(error instanceof DomainError)) throw error;
        return error.reason;
      },
    );
  }

  /** An owner at x.10. Their neighbours are at x.11 and above. */
  async function newOwner() {
    const site = `192.0.${++numbers & 255}`;
    const { user, tokens } = await registered(people, { clientIp: `${site}.10` });
    return { email: user.email, userId: user.id, home: `${site}.10`, site, tokens };
  }

  async function close({ email, home, site }: Awaited<ReturnType<typeof newOwner>>): Promise<void> {
    const accounts = digestsOf(people.ring, email);
    const guess = async (network: string) => {
      const address = randomBytes(8).toString("hex");
      const judged = { isGuess: true, addressHashes: 30, networks: [] };
      expect(await store.count({ accounts, ringVersion: 1, network, address, ...judged })).toHaveProperty("atMs");
    };
    for (let n = 0; n < 90; n++) await guess(randomBytes(8).toString("hex"));
    for (let n = 0; n < 10; n++) {
      test.clock.advance(15 * MINUTES);
      await guess(networkOf(home));
    }
    expect(await tryLogin(email, PASSWORD, `${site}.99`)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(email, PASSWORD, freshIp())).toBe("TOO_MANY_ATTEMPTS");
  }

  it("accepts ten more wrong passwords from the address that logged in, then only a refresh token helps", async () => {
    const owner = await newOwner();
    await close(owner);
    const ends: string[] = [];
    for (let n = 0; n < 12; n++) {
      ends.push(await tryLogin(owner.email, WRONG, owner.home));
      test.clock.advance(15 * MINUTES);
    }
    expect(ends).toEqual([...Array(10).fill("LOGIN_FAILED"), ...Array(2).fill("TOO_MANY_ATTEMPTS")]);
    expect(await tryLogin(owner.email, PASSWORD, owner.home)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(owner.email, PASSWORD, owner.home, owner.tokens.refreshToken)).toBe("OK");
  });

  it("accepts the owner's password with a live, exchanged or lapsed refresh token, which stays as it is", async () => {
    const owner = await newOwner();
    const first = owner.tokens.refreshToken;
    const exchange = (refreshToken: string) => refresh(people, { refreshToken, clientIp: owner.home });
    const second = (await exchange(first)).refreshToken;
    test.clock.advance(MINUTES);
    await close(owner);
    expect(await tryLogin(owner.email, WRONG, freshIp(), first)).toBe("LOGIN_FAILED");
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), second)).toBe("OK");
    // The token was not exchanged, and this was no reuse of it.
    const third = (await exchange(second)).refreshToken;
    await close(owner);
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), first)).toBe("OK");
    test.clock.advance(8 * DAYS);
    await close(owner);
    await expect(exchange(third)).rejects.toMatchObject({ reason: "REFRESH_TOKEN_INVALID" });
    expect(await tryLogin(owner.email, PASSWORD, freshIp(), third)).toBe("OK");
  });

  it("refuses a token that shows nothing: of another account, logged out, revoked, reused, or a text that is none", async () => {
    const [owner, other] = [await newOwner(), await newOwner()];
    const { email, home, userId } = owner;
    const logIn = async () =>
      (await login(people, { email, password: PASSWORD, clientIp: home, userAgent: "" })).tokens;
    const [loggedOut, revoked, reused] = [await logIn(), await logIn(), await logIn()];
    await logout(people, { refreshToken: loggedOut.refreshToken, clientIp: home });
    const sessionId = `ses_${revoked.refreshToken.split("_")[2]}`;
    await revokeSession(people, { userId, sessionId, clientIp: home });
    const exchange = () => refresh(people, { refreshToken: reused.refreshToken, clientIp: home });
    await exchange();
    test.clock.advance(MINUTES);
    await expect(exchange()).rejects.toThrow();
    await close(owner);
    const shown = [loggedOut.refreshToken, revoked.refreshToken, reused.refreshToken, other.tokens.refreshToken];
    for (const token of [...shown, "kit_ref_garbage", "x".repeat(9999)]) {
      expect(await tryLogin(email, PASSWORD, freshIp(), token), token).toBe("TOO_MANY_ATTEMPTS");
    }
    expect(await tryLogin(email, PASSWORD, freshIp(), owner.tokens.refreshToken)).toBe("OK");
  });

  it("refuses a token of an earlier password, even if its session had lapsed before the change", async () => {
    const owner = await newOwner();
    const { email, home, userId, tokens } = owner;
    test.clock.advance(9 * DAYS);
    const change = { userId, currentPassword: PASSWORD, newPassword: NEW_PASSWORD, clientIp: home, userAgent: "" };
    const changed = await changePassword(people, change);
    await close(owner);
    expect(await tryLogin(email, NEW_PASSWORD, freshIp(), tokens.refreshToken)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(email, NEW_PASSWORD, freshIp(), changed.refreshToken)).toBe("OK");
  });

  it("gives the same answer to a token for an account that does not exist", async () => {
    const { tokens } = await newOwner();
    const ip = freshIp();
    const attempt = () => tryLogin(`nobody-${ip}@example.com`, WRONG, ip, tokens.refreshToken);
    for (let n = 0; n < 5; n++) expect(await attempt()).toBe("LOGIN_FAILED");
    expect(await attempt()).toBe("TOO_MANY_ATTEMPTS");
  });
});
