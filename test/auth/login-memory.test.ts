/** Attempts that must wait are refused before they take a place, and by memory before the database is read. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completePasswordReset } from "../../src/auth/complete-password-reset.ts";
import { createPasswordReset } from "../../src/auth/create-password-reset.ts";
import { login } from "../../src/auth/login.ts";
import { PasswordHasher } from "../../src/auth/passwords/password.ts";
import type { LoginFailureStore } from "../../src/auth/throttle/login-failure-store.ts";
import { LoginThrottle } from "../../src/auth/throttle/login-throttle.ts";
import { newResetToken } from "../../src/auth/tokens/reset-token.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import {
  freshEmail,
  newPeople,
  OPERATOR,
  occupyHash,
  PASSWORD,
  type People,
  PREFERRED_KIND,
  registered,
} from "../support/people.ts";

const WRONG = "violet harbour engine quilt";
const HASHES = 8;

const endOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "OK",
    (error: unknown) => {
      if (!(error instanceof DomainError)) throw error;
      return error.reason;
    },
  );

describe(`an attempt that must wait, on ${PREFERRED_KIND}`, () => {
  let test: TestDatabase;
  let people: People;
  let reads = 0;
  let networks = 0;
  beforeAll(async () => {
    test = await openDatabase(PREFERRED_KIND);
    const made = newPeople(test);
    const { ring, log, users, refusals, clock } = made;
    const store: LoginFailureStore = new PostgresLoginFailureStore(test.database);
    const find = store.find.bind(store);
    store.find = (subject) => {
      reads++;
      return find(subject);
    };
    const roomy = { concurrency: 2, maxQueue: 1000, maxWaitMs: 60_000 };
    people = {
      ...made,
      passwords: new PasswordHasher({ ring, log, memoryKib: 1024, passes: 1, ...roomy }),
      loginThrottle: new LoginThrottle({ store, users, refusals, ring, clock, log, hashesPerAddress: HASHES }),
    };
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  const freshIp = () => `10.${++networks >> 8}.${networks & 255}.1`;
  const site = () => `2001:db8:${(++networks).toString(16)}`;
  const tryLogin = (email: string, password: string, clientIp: string, refreshToken = "") =>
    endOf(login(people, { email, password, clientIp, userAgent: "", refreshToken }));
  const times = async (count: number, attempt: (n: number) => Promise<string>) => {
    const ends: string[] = [];
    for (let n = 0; n < count; n++) ends.push(await attempt(n));
    return ends;
  };

  it("costs one read a second, however often it is repeated, and gets the same answer", async () => {
    const [email, ip] = [freshEmail(), freshIp()];
    await times(5, () => tryLogin(email, WRONG, ip));
    test.clock.advance(1000);
    await tryLogin(email, WRONG, ip);
    reads = 0;
    const refuse = () => login(people, { email, password: WRONG, clientIp: ip, userAgent: "" });
    for (let n = 0; n < 20; n++) {
      await expect(refuse()).rejects.toMatchObject({ reason: "TOO_MANY_ATTEMPTS", retryAfterMs: 2000 });
    }
    expect(reads).toBe(1);
    test.clock.advance(1000);
    await expect(refuse()).rejects.toMatchObject({ reason: "TOO_MANY_ATTEMPTS", retryAfterMs: 1000 });
    expect(reads).toBe(2);
    // Control: an attempt at another account from there does cost a read.
    await tryLogin(freshEmail(), WRONG, ip);
    expect(reads).toBe(3);
  });

  it("is judged again at once after an operator has cleared the account's failures", async () => {
    const ip = freshIp();
    const { user } = await registered(people, { clientIp: freshIp() });
    await times(5, () => tryLogin(user.email, WRONG, ip));
    expect(await tryLogin(user.email, PASSWORD, ip)).toBe("TOO_MANY_ATTEMPTS");
    await people.loginThrottle.clear({ emailNormalized: user.email, userId: user.id, by: OPERATOR });
    expect(await tryLogin(user.email, PASSWORD, ip)).toBe("OK");
  });

  it("is refused without a read, for each kind of call, if its address has used up its hashes", async () => {
    const ip = freshIp();
    await times(HASHES + 1, () => tryLogin(freshEmail(), WRONG, ip));
    reads = 0;
    expect(await tryLogin(freshEmail(), WRONG, ip)).toBe("TOO_MANY_ATTEMPTS");
    expect(await endOf(registered(people, { clientIp: ip }))).toBe("TOO_MANY_ATTEMPTS");
    const { token } = newResetToken(people.ring, "kit");
    const reset = { resetToken: token, newPassword: PASSWORD, clientIp: ip, userAgent: "" };
    expect(await endOf(completePasswordReset(people, reset))).toBe("TOO_MANY_ATTEMPTS");
    expect(reads).toBe(0);
  });

  it("is refused after three quarters of a /48's hashes, from whichever /64; an owner there is not", async () => {
    const prefix = site();
    const home = `${prefix}:1::1`;
    const { user } = await registered(people, { clientIp: home });
    const ends = await times(60, (n) => tryLogin(freshEmail(), WRONG, `${prefix}:${(256 * (n + 1)).toString(16)}::1`));
    expect(ends.filter((end) => end === "LOGIN_FAILED")).toHaveLength(4 * HASHES * 0.75 - 1);
    expect(ends.slice(-30)).toEqual(Array(30).fill("TOO_MANY_ATTEMPTS"));
    reads = 0;
    expect(await endOf(registered(people, { clientIp: `${prefix}:ffff::1` }))).toBe("TOO_MANY_ATTEMPTS");
    expect(reads, "Register brings no proof of an owner").toBe(0);
    expect(await tryLogin(user.email, PASSWORD, home)).toBe("OK");
    expect(await tryLogin(user.email, PASSWORD, `${prefix}:ffff::1`)).toBe("TOO_MANY_ATTEMPTS");
    const { tokens } = await login(people, {
      email: user.email,
      password: PASSWORD,
      clientIp: freshIp(),
      userAgent: "",
    });
    expect(await tryLogin(user.email, PASSWORD, `${prefix}:ffff::1`, tokens.refreshToken)).toBe("OK");
    const { resetToken } = await createPasswordReset(people, {
      userId: user.id,
      revokeKeys: undefined,
      endAccess: false,
      by: OPERATOR,
    });
    const reset = {
      resetToken,
      newPassword: PASSWORD,
      clientIp: `${prefix}:fffe::1`,
      userAgent: "",
      revokeKeys: undefined,
    };
    expect(await endOf(completePasswordReset(people, reset))).toBe("OK");
  });

  it("is refused without a hash after as many unknown reset tokens as the address may have hashes", async () => {
    const ip = freshIp();
    const other = new KeyRing([{ version: 1, bytes: randomBytes(32) }]);
    const before = people.passwords.hashes;
    const ends = await times(HASHES + 5, () => {
      const { token } = newResetToken(other, "kit");
      const reset = { resetToken: token, newPassword: PASSWORD, clientIp: ip, userAgent: "" };
      return endOf(completePasswordReset(people, reset));
    });
    expect(ends).toEqual([...Array(HASHES).fill("RESET_TOKEN_INVALID"), ...Array(5).fill("TOO_MANY_ATTEMPTS")]);
    expect(people.passwords.hashes).toBe(before);
    expect(await tryLogin(freshEmail(), WRONG, ip)).toBe("TOO_MANY_ATTEMPTS");
  });

  it("takes no place: it is told to wait even while the queue of hashes is full", async () => {
    const { ring, log } = people;
    const full = new PasswordHasher({ ring, log, memoryKib: 1024, passes: 1, concurrency: 1, maxQueue: 0 });
    const at = { ...people, passwords: full };
    const [email, ip] = [freshEmail(), freshIp()];
    await times(5, () => tryLogin(email, WRONG, ip));
    const occupied = occupyHash(full);
    const attempt = (clientIp: string) => endOf(login(at, { email, password: WRONG, clientIp, userAgent: "" }));
    expect(await times(10, () => attempt(ip))).toEqual(Array(10).fill("TOO_MANY_ATTEMPTS"));
    expect(await attempt(freshIp()), "the control").toBe("OVERLOADED");
    await occupied.free();
  });
});
