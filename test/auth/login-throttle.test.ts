import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changePassword } from "../../src/auth/change-password.ts";
import { login } from "../../src/auth/login.ts";
import { PasswordHasher } from "../../src/auth/passwords/password.ts";
import { LoginThrottle } from "../../src/auth/throttle/login-throttle.ts";
import { DomainError } from "../../src/lib/errors.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import {
  freshEmail,
  newPeople,
  occupyHash,
  PASSWORD,
  type People,
  PREFERRED_KIND,
  registered,
} from "../support/people.ts";

const WRONG = "violet harbour engine quilt";

/** The outcome of an attempt: the reason of its refusal, or OK. */
const endOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "OK",
    (error: unknown) => {
      if (!(error instanceof DomainError)) throw error;
      return error.reason;
    },
  );

const count = (ends: readonly string[], reason: string) => ends.filter((end) => end === reason).length;

describe(`the login throttle, on ${PREFERRED_KIND}`, () => {
  let test: TestDatabase;
  let people: People;
  let networks = 0;
  beforeAll(async () => {
    test = await openDatabase(PREFERRED_KIND);
    const made = newPeople(test);
    const { ring, log } = made;
    // The queue is so long that only the throttle refuses.
    const roomy = { concurrency: 2, maxQueue: 1000, maxWaitMs: 60_000 };
    people = { ...made, passwords: new PasswordHasher({ ring, log, memoryKib: 1024, passes: 1, ...roomy }) };
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** An address of a network that no attempt came from before. */
  const freshIp = () => `10.${++networks >> 8}.${networks & 255}.1`;

  const tryLogin = (email: string, password: string, clientIp: string, at: People = people) =>
    endOf(login(at, { email, password, clientIp, userAgent: "" }));

  it("admits 90 of 150 parallel guesses at an account, for one hash each, and none for the refused ones", async () => {
    const { user } = await registered(people, { clientIp: freshIp() });
    for (const email of [user.email, freshEmail()]) {
      const before = people.passwords.hashes;
      const ends: string[] = [];
      // In waves, because a wait of a second for the account's lock counts as an outage.
      for (let wave = 0; wave < 6; wave++) {
        ends.push(...(await Promise.all(Array.from({ length: 25 }, () => tryLogin(email, WRONG, freshIp(), people)))));
      }
      expect(count(ends, "LOGIN_FAILED")).toBe(90);
      expect(count(ends, "TOO_MANY_ATTEMPTS")).toBe(60);
      expect(people.passwords.hashes - before).toBe(90);
    }
  });

  it("admits twenty hashes of one address in a minute, for any accounts and methods", async () => {
    const clientIp = freshIp();
    const { user } = await registered(people, { clientIp: freshIp() });
    const attempts = (n: number) => [
      tryLogin(freshEmail(), WRONG, clientIp, people),
      endOf(registered(people, { email: user.email, clientIp })),
      tryLogin(`${n}@example.com`, WRONG, clientIp, people),
    ];
    const before = people.passwords.hashes;
    const ends = await Promise.all(Array.from({ length: 20 }, (_, n) => attempts(n)).flat());
    expect(people.passwords.hashes - before).toBe(20);
    expect(count(ends, "TOO_MANY_ATTEMPTS")).toBe(40);
    test.clock.advance(60_000);
    expect(await tryLogin(freshEmail(), WRONG, clientIp)).toBe("LOGIN_FAILED");
  });

  it("counts no failure for a call that lost its place in the queue or was aborted", async () => {
    const clientIp = freshIp();
    const { user } = await registered(people, { clientIp });
    const { ring, log } = people;
    const busy = new PasswordHasher({ ring, log, memoryKib: 1024, passes: 1, concurrency: 1, maxQueue: 0 });
    const at = { ...people, passwords: busy };
    const occupied = occupyHash(busy);
    for (let n = 0; n < 25; n++) expect(await tryLogin(user.email, WRONG, clientIp, at)).toBe("OVERLOADED");
    const givenUp = { email: user.email, password: WRONG, clientIp, userAgent: "", signal: AbortSignal.abort() };
    for (let n = 0; n < 25; n++) expect(await endOf(login(at, givenUp))).toBe("CANCELLED");
    await occupied.free();
    const hashes = busy.hashes;
    for (let n = 0; n < 5; n++) expect(await tryLogin(user.email, WRONG, clientIp, at)).toBe("LOGIN_FAILED");
    expect(await tryLogin(user.email, PASSWORD, clientIp, at)).toBe("TOO_MANY_ATTEMPTS");
    expect(busy.hashes - hashes).toBe(5);
  });

  it("refuses an attempt that must wait before it takes a place in the queue for hashes", async () => {
    const clientIp = freshIp();
    const { ring, log } = people;
    const busy = new PasswordHasher({ ring, log, memoryKib: 1024, passes: 1, concurrency: 1, maxQueue: 1 });
    const at = { ...people, passwords: busy };
    const email = freshEmail();
    for (let n = 0; n < 5; n++) expect(await tryLogin(email, WRONG, clientIp, at)).toBe("LOGIN_FAILED");
    const occupied = occupyHash(busy);
    for (let n = 0; n < 3; n++) expect(await tryLogin(email, WRONG, clientIp, at)).toBe("TOO_MANY_ATTEMPTS");
    expect(await tryLogin(email, WRONG, freshIp(), at)).toBe("OVERLOADED");
    await occupied.free();
  });

  it("counts wrong passwords of ChangePassword like those of Login, and no right one", async () => {
    const clientIp = freshIp();
    const { user } = await registered(people, { clientIp });
    const change = (currentPassword: string) =>
      endOf(changePassword(people, { userId: user.id, currentPassword, newPassword: WRONG, clientIp, userAgent: "" }));
    for (let n = 0; n < 4; n++) expect(await change("not this one, not this")).toBe("PASSWORD_WRONG");
    expect(await change(PASSWORD)).toBe("OK");
    for (let n = 0; n < 5; n++) expect(await change("not this one, not this")).toBe("PASSWORD_WRONG");
    expect(await tryLogin(user.email, WRONG, clientIp)).toBe("TOO_MANY_ATTEMPTS");
    expect(await change(WRONG)).toBe("TOO_MANY_ATTEMPTS");
  });

  it("goes on counting while the master key is rotated", async () => {
    const older = { version: 1, bytes: randomBytes(32) };
    const newer = { version: 2, bytes: randomBytes(32) };
    const rings = [new KeyRing([older]), new KeyRing([older, newer]), new KeyRing([newer, older])];
    const email = freshEmail();
    const store = new PostgresLoginFailureStore(test.database);
    const { clock, log, users, refusals } = people;
    const ends: string[] = [];
    for (let n = 0; n < 120; n++) {
      // During a rolling change, processes with neighbouring steps of the ring run at the same time.
      const ring = rings[Math.min(Math.floor(n / 40) + (n % 2), 2)]!;
      const loginThrottle = new LoginThrottle({ store, users, refusals, ring, clock, log, hashesPerAddress: 30 });
      ends.push(await tryLogin(email, WRONG, freshIp(), { ...people, loginThrottle }));
    }
    expect(ends.indexOf("TOO_MANY_ATTEMPTS")).toBe(90);
    expect(count(ends, "LOGIN_FAILED")).toBe(90);
  });
});
