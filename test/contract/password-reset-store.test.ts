import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PasswordResetStore } from "../../src/auth/password-reset-store.ts";
import type { UserStore } from "../../src/auth/user-store.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresPasswordResetStore } from "../../src/postgres/stores/password-reset-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, OPERATOR } from "../support/people.ts";
import { HOME, newStoredReset, newStoredSession, newStoredUser } from "../support/stored-users.ts";

describe.each(DATABASE_KINDS)("PasswordResetStore on %s", (kind) => {
  let test: TestDatabase;
  let users: UserStore;
  let store: PasswordResetStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    users = new PostgresUserStore(test.database);
    store = byTurns((await test.processes()).map((database) => new PostgresPasswordResetStore(database)));
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  async function newUser(): Promise<string> {
    const user = newStoredUser();
    await users.register({ user, passwordHash: "hash", session: newStoredSession() });
    return user.id;
  }

  const create = (userId: string, digest: Uint8Array) =>
    store.create({ userId, reset: newStoredReset(digest), by: OPERATOR });
  const complete = (digest: Uint8Array) =>
    store.complete({ digests: [digest], passwordHash: "new", session: newStoredSession(), clientIp: HOME });

  it("keeps a token until its end by the database's clock", async () => {
    const userId = await newUser();
    const digest = randomBytes(32);
    const created = await create(userId, digest);
    expect(created).toEqual({ kind: "created", expiresAtMs: expect.any(Number), revokesKeys: true });
    expect((await store.find([randomBytes(32), digest]))?.id).toBe(userId);
    test.clock.advance(DAYS);
    expect(await store.find([digest])).toBeUndefined();
    expect(await complete(digest)).toBeUndefined();
  });

  it("keeps only the newest token of a user, and all tokens of others", async () => {
    const [userId, otherId] = [await newUser(), await newUser()];
    const [first, second, others] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    await create(otherId, others);
    await create(userId, first);
    await create(userId, second);
    expect(await store.find([first])).toBeUndefined();
    expect(await complete(first)).toBeUndefined();
    expect((await store.find([others]))?.id).toBe(otherId);
    expect(await complete(second)).toBeDefined();
    expect((await users.secretsById(userId))?.passwordHash).toBe("new");
  });

  it("has one winner if a token is replaced while it is used", async () => {
    for (let round = 0; round < 10; round++) {
      const userId = await newUser();
      const [first, second] = [randomBytes(32), randomBytes(32)];
      await create(userId, first);
      const [session] = await Promise.all([complete(first), create(userId, second)]);
      // The old token was used before it was replaced, or it was refused. The newer one is good only if it came last.
      expect((await users.secretsById(userId))?.passwordVersion).toBe(session === undefined ? 1 : 2);
      expect(await complete(first)).toBeUndefined();
    }
  });

  it("keeps no token of a user who is disabled or does not exist", async () => {
    const userId = await newUser();
    await users.disable({ id: userId, by: OPERATOR });
    const digest = randomBytes(32);
    expect(await create(userId, digest)).toEqual({ kind: "user_disabled" });
    expect(await create(newId("usr"), digest)).toEqual({ kind: "no_such_user" });
    await users.enable({ id: userId, by: OPERATOR });
    expect(await store.find([digest])).toBeUndefined();
  });
});
