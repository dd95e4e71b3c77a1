import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PasswordResetStore } from "../../src/auth/password-reset-store.ts";
import type { NewSession } from "../../src/auth/session.ts";
import type { SessionStore } from "../../src/auth/session-store.ts";
import type { User } from "../../src/auth/user.ts";
import type { NewUser, UserStore } from "../../src/auth/user-store.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresPasswordResetStore } from "../../src/postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, freshEmail, OPERATOR } from "../support/people.ts";

function newUser(more: Partial<NewUser> = {}): NewUser {
  const email = freshEmail();
  return {
    id: newId("usr"),
    email,
    emailNormalized: email,
    displayName: `O'Neil "the \\ one"; ?`,
    tier: "basic",
    scopes: ["orders:*", 'odd,"{scope}'],
    ...more,
  };
}

function newSession(): NewSession {
  return {
    id: newId("ses"),
    seed: randomBytes(32),
    ringVersion: 1,
    idleMs: 7 * DAYS,
    absoluteMs: 30 * DAYS,
    userAgent: "",
    clientIp: "",
  };
}

function newReset() {
  return { digest: randomBytes(32), ringVersion: 1, lifeMs: DAYS };
}

describe.each(DATABASE_KINDS)("UserStore and PasswordResetStore on %s", (kind) => {
  let test: TestDatabase;
  let store: UserStore;
  let resets: PasswordResetStore;
  let sessions: SessionStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = byTurns((await test.processes()).map((database) => new PostgresUserStore(database)));
    resets = byTurns((await test.processes()).map((database) => new PostgresPasswordResetStore(database)));
    sessions = new PostgresSessionStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  async function registered() {
    const user = newUser();
    const session = newSession();
    await store.register({ user, passwordHash: "1$first", session });
    return { ...user, sessionId: session.id };
  }

  /** The changes that every process is told of. */
  async function announced(...subjectIds: string[]) {
    const rows = await test.database.read("select kind from changes where subject_id = any(?::text[]) order by id", [
      `{${subjectIds}}`,
    ]);
    return rows.map(({ kind }) => kind);
  }

  /** The number of times that this process's copies were told. */
  function toldHere(subjectId: string) {
    return test.changes.filter((change) => change.subjectId === subjectId).length;
  }

  async function isLive(sessionId: string): Promise<boolean> {
    return (await sessions.standing(sessionId)).standing?.endedAtMs === undefined;
  }

  it("returns a user as registered, by id and by address", async () => {
    const { emailNormalized, ...wanted } = newUser({ email: "As.Given@Example.com", emailNormalized: freshEmail() });
    const added = await store.register({
      user: { ...wanted, emailNormalized },
      passwordHash: "1$hash",
      session: newSession(),
    });
    const user = { ...wanted, state: "active", createdAtMs: expect.any(Number) };
    expect(added?.user).toEqual(user);
    expect(await store.find(wanted.id)).toEqual(user);
    const secrets = { user, emailNormalized, passwordHash: "1$hash", passwordVersion: 1 };
    expect(await store.secretsById(wanted.id)).toEqual(secrets);
    expect(await store.secretsByEmail(emailNormalized)).toEqual(secrets);
    expect(Object.isFrozen(added?.user)).toBe(true);
  });

  it("finds nothing for an unknown user", async () => {
    const id = newId("usr");
    expect(await store.find(id)).toBeUndefined();
    expect(await store.secretsById(id)).toBeUndefined();
    expect(await store.secretsByEmail(freshEmail())).toBeUndefined();
    expect(await store.update({ id, patch: { tier: "pro" }, by: OPERATOR })).toBeUndefined();
    expect(await store.disable({ id, by: OPERATOR })).toBeUndefined();
    expect(await store.enable({ id, by: OPERATOR })).toBeUndefined();
  });

  it("gives an address to one of many concurrent registrations, and keeps nothing of the others", async () => {
    const emailNormalized = freshEmail();
    const attempts = Array.from({ length: 10 }, () => ({ user: newUser({ emailNormalized }), session: newSession() }));
    const outcomes = await Promise.all(attempts.map((each) => store.register({ ...each, passwordHash: "1$hash" })));
    expect(outcomes.filter((outcome) => outcome !== undefined)).toHaveLength(1);
    for (const [i, { session }] of attempts.entries()) {
      expect((await sessions.standing(session.id)).standing !== undefined).toBe(outcomes[i] !== undefined);
    }
    expect(await store.create({ user: newUser({ emailNormalized }), reset: newReset(), by: OPERATOR })).toBeUndefined();
  });

  it("updates the fields of the patch, and reports those that verdicts depend on", async () => {
    const { id } = await registered();
    const before = await store.find(id);
    expect(await store.update({ id, patch: { displayName: "New" }, by: OPERATOR })).toEqual({
      ...before,
      displayName: "New",
    });
    expect(await announced(id)).toEqual([]);
    const patch = { tier: "pro", scopes: ["a", "b"] };
    expect(await store.update({ id, patch, by: OPERATOR })).toEqual({ ...before, displayName: "New", ...patch });
    expect(await announced(id)).toEqual(["OWNER"]);
    await store.update({ id, patch, by: OPERATOR });
    expect(await announced(id)).toEqual(["OWNER"]);
    expect(toldHere(id)).toBe(2);
    expect(await store.find(id)).toMatchObject(patch);
  });

  it("ends all sessions of a disabled user, reports both once, and does not restore them when the user is enabled", async () => {
    const { id, sessionId } = await registered();
    expect(await store.disable({ id, by: OPERATOR })).toMatchObject({ id, state: "disabled" });
    expect(await isLive(sessionId)).toBe(false);
    expect((await announced(id, sessionId)).toSorted()).toEqual(["OWNER", "SESSION"]);
    expect(await store.disable({ id, by: OPERATOR })).toMatchObject({ state: "disabled" });
    expect((await announced(id, sessionId)).toSorted()).toEqual(["OWNER", "SESSION"]);
    expect(await store.enable({ id, by: OPERATOR })).toMatchObject({ state: "active" });
    expect(await store.enable({ id, by: OPERATOR })).toMatchObject({ state: "active" });
    expect(await announced(id)).toEqual(["OWNER", "OWNER"]);
    expect(await isLive(sessionId)).toBe(false);
  });

  it("changes a password for one of many callers with the same version, and ends all other sessions", async () => {
    const { id, sessionId } = await registered();
    const attempts = Array.from({ length: 5 }, (_, i) => ({
      id,
      expectedVersion: 1,
      passwordHash: `1$next${i}`,
      session: newSession(),
      by: OPERATOR,
    }));
    const outcomes = await Promise.all(attempts.map((each) => store.changePassword(each)));
    const winner = outcomes.findIndex((outcome) => outcome !== undefined);
    expect(outcomes.filter((outcome) => outcome !== undefined)).toHaveLength(1);
    expect(await store.secretsById(id)).toMatchObject({ passwordHash: `1$next${winner}`, passwordVersion: 2 });
    expect(await isLive(sessionId)).toBe(false);
    const live = await sessions.listLive({ userId: id, after: undefined, limit: 10 });
    expect(live.map((each) => each.id)).toEqual([attempts[winner]?.session.id]);
  });

  it("changes no password of a disabled user", async () => {
    const { id } = await registered();
    await store.disable({ id, by: OPERATOR });
    const input = { id, expectedVersion: 1, passwordHash: "1$next", session: newSession(), by: OPERATOR };
    expect(await store.changePassword(input)).toBeUndefined();
    expect(await store.secretsById(id)).toMatchObject({ passwordHash: "1$first", passwordVersion: 1 });
  });

  it("rehashes a password only while it is the same, and ends nothing", async () => {
    const { id, sessionId } = await registered();
    await store.rehash({ id, passwordVersion: 1, passwordHash: "2$first" });
    await store.rehash({ id, passwordVersion: 2, passwordHash: "2$other" });
    expect(await store.secretsById(id)).toMatchObject({ passwordHash: "2$first", passwordVersion: 1 });
    expect(await isLive(sessionId)).toBe(true);
  });

  it("lists users newest first in pages, and by address", async () => {
    const ids = [];
    for (let i = 0; i < 7; i++) ids.push((await registered()).id);
    const listed: User[] = [];
    const all = await store.list({ emailForms: undefined, after: undefined, limit: 1000 });
    while (listed.length < all.length) {
      const page = await store.list({ emailForms: undefined, after: listed.at(-1), limit: 3 });
      expect(page.length).toBe(Math.min(3, all.length - listed.length));
      listed.push(...page);
    }
    expect(await store.list({ emailForms: undefined, after: listed.at(-1), limit: 3 })).toEqual([]);
    const found = listed.map((each) => each.id);
    expect(new Set(found).size).toBe(found.length);
    expect(ids.filter((id) => !found.includes(id))).toEqual([]);
    const times = listed.map((each) => each.createdAtMs);
    expect(times.toSorted((a, b) => b - a)).toEqual(times);
    const { emailNormalized } = (await store.secretsById(ids[0]!))!;
    const ofOne = await store.list({ emailForms: [emailNormalized, "nobody"], after: undefined, limit: 3 });
    expect(ofOne.map((each) => each.id)).toEqual([ids[0]]);
  });

  describe("a reset token", () => {
    async function created() {
      const user = newUser();
      const reset = newReset();
      const made = await store.create({ user, reset, by: OPERATOR });
      return { ...user, reset, resetExpiresAtMs: made!.resetExpiresAtMs, createdAtMs: made!.user.createdAtMs };
    }

    function complete(digests: Uint8Array[], passwordHash = "1$set") {
      return resets.complete({ digests, passwordHash, session: newSession(), clientIp: "" });
    }

    it("lets a user without a password set one, and log in with it", async () => {
      const { id, reset, resetExpiresAtMs, createdAtMs } = await created();
      expect(resetExpiresAtMs).toBe(createdAtMs + DAYS);
      expect(await store.secretsById(id)).toMatchObject({ passwordHash: undefined, passwordVersion: 0 });
      const digests = [randomBytes(32), reset.digest];
      expect(await resets.find(digests)).toMatchObject({ id });
      const { session } = (await complete(digests))!;
      expect(session).toMatchObject({ userId: id, generation: 1 });
      expect(await isLive(session.id)).toBe(true);
      expect(await store.secretsById(id)).toMatchObject({ passwordHash: "1$set", passwordVersion: 1 });
    });

    it("works once, even for many concurrent calls", async () => {
      const { id, reset } = await created();
      const outcomes = await Promise.all(Array.from({ length: 5 }, (_, i) => complete([reset.digest], `1$set${i}`)));
      expect(outcomes.filter((outcome) => outcome !== undefined)).toHaveLength(1);
      expect(await store.secretsById(id)).toMatchObject({ passwordVersion: 1 });
      expect(await resets.find([reset.digest])).toBeUndefined();
    });

    it("expires by the database's clock", async () => {
      const { reset } = await created();
      test.clock.advance(DAYS);
      expect(await resets.find([reset.digest])).toBeUndefined();
      expect(await complete([reset.digest])).toBeUndefined();
    });

    /** A token besides the newest one, which no store creates. */
    async function besides(userId: string): Promise<Buffer> {
      const digest = randomBytes(32);
      await test.database.write(
        `insert into password_resets (token_digest, user_id, created_at, expires_at)
         values (decode(?, 'hex'), ?, ${test.database.now}, ${test.database.now} + interval '1 day')`,
        [digest.toString("hex"), userId],
      );
      return digest;
    }

    it("of an older version does nothing for a disabled user, and ends when the account is enabled", async () => {
      const { id } = await created();
      await store.disable({ id, by: OPERATOR });
      const left = await besides(id);
      expect(await resets.find([left])).toBeUndefined();
      expect(await complete([left])).toBeUndefined();
      await store.enable({ id, by: OPERATOR });
      expect(await resets.find([left])).toBeUndefined();
      expect(await complete([left])).toBeUndefined();
    });

    it("ends with every other token of the user when one is used", async () => {
      const { id, reset } = await created();
      const other = await besides(id);
      expect(await resets.find([other])).toMatchObject({ id });
      await complete([reset.digest]);
      expect(await resets.find([other])).toBeUndefined();
    });

    it("is not found by another digest or by none", async () => {
      expect(await resets.find([randomBytes(32)])).toBeUndefined();
      expect(await resets.find([])).toBeUndefined();
      expect(await complete([])).toBeUndefined();
    });
  });
});
