/** A reset token belongs to the state of the account that it was created for: a change of that state ends it. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CompletedReset } from "../../src/auth/password-reset-store.ts";
import type { ManagedDatabase } from "../../src/postgres/database.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { PostgresPasswordResetStore } from "../../src/postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { inThisOrder } from "../support/lock-order.ts";
import { OPERATOR } from "../support/people.ts";
import { newStoredReset, newStoredSession, newStoredUser } from "../support/stored-users.ts";

describe.each(DATABASE_KINDS)("a reset token on %s", (kind) => {
  let test: TestDatabase;
  let users: PostgresUserStore;
  let sessions: PostgresSessionStore;
  let store: PostgresPasswordResetStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    users = new PostgresUserStore(test.database);
    sessions = new PostgresSessionStore(test.database);
    store = new PostgresPasswordResetStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** A person with a session, and a token to set their password. */
  async function newReset() {
    const user = newStoredUser();
    await users.register({ user, passwordHash: "hash", session: newStoredSession() });
    const digest = randomBytes(32);
    await store.create({ userId: user.id, reset: newStoredReset(digest), by: OPERATOR });
    return { userId: user.id, digest };
  }

  const complete = (digest: Uint8Array, at = test.database) =>
    new PostgresPasswordResetStore(at).complete({
      digests: [digest],
      passwordHash: "reset",
      session: newStoredSession(),
      clientIp: OPERATOR.clientIp,
    });
  const changePassword = (id: string, at = test.database) =>
    new PostgresUserStore(at).changePassword({
      id,
      expectedVersion: 1,
      passwordHash: "changed",
      session: newStoredSession(),
      by: OPERATOR,
    });
  const endAll = (userId: string, at = test.database) =>
    new PostgresSessionStore(at).endAllOf({ userId, why: "ended_by_operator", by: OPERATOR });
  const disable = (id: string, at = test.database) => new PostgresUserStore(at).disable({ id, by: OPERATOR });
  const enable = (id: string) => users.enable({ id, by: OPERATOR });
  const isGood = async (digest: Uint8Array) => (await store.find([digest])) !== undefined;

  it.each<[change: string, make: (userId: string) => Promise<unknown>]>([
    ["a changed password", changePassword],
    ["the end of all sessions", endAll],
    ["a disabled and enabled account", async (id) => [await disable(id), await enable(id)]],
    ["a newer token", (id) => store.create({ userId: id, reset: newStoredReset(), by: OPERATOR })],
  ])("ends with %s", async (_change, make) => {
    const { userId, digest } = await newReset();
    const before = (await users.secretsById(userId))?.passwordHash;
    expect(before).toBe("hash");
    await make(userId);
    const after = (await users.secretsById(userId))?.passwordHash;
    expect(await isGood(digest)).toBe(false);
    expect(await complete(digest)).toBeUndefined();
    expect((await users.secretsById(userId))?.passwordHash).toBe(after);
  });

  it("outlives changes that leave the state of the account as it is", async () => {
    const { userId, digest } = await newReset();
    await users.update({ id: userId, patch: { displayName: "Ada", tier: "pro", scopes: ["orders:*"] }, by: OPERATOR });
    await users.rehash({ id: userId, passwordVersion: 1, passwordHash: "rehashed" });
    // The account is active already, so nothing changes.
    await enable(userId);
    const [session] = await sessions.listLive({ userId, after: undefined, limit: 1 });
    await sessions.end({ id: session!.id, why: "logout", by: OPERATOR });
    await sessions.begin({ userId, passwordVersion: 1, session: newStoredSession() });
    const other = await newReset();
    await endAll(other.userId);
    expect(await isGood(digest)).toBe(true);
    expect(await complete(digest)).toBeDefined();
  });

  it("appears in the audit event of the change that ended it", async () => {
    const audit = new PostgresAuditStore(test.database);
    const about = async (subjectId: string) => {
      const filter = { subjectId, actorId: "", startMs: undefined, endMs: undefined };
      const { items: events } = await audit.list(filter, 50, undefined);
      return events.map(({ kind, details }) => [kind, details.reset_tokens]);
    };
    const changed = await newReset();
    await changePassword(changed.userId);
    expect(await about(changed.userId)).toContainEqual(["user.password_changed", "1"]);
    const ended = await newReset();
    const [session] = await sessions.listLive({ userId: ended.userId, after: undefined, limit: 1 });
    await sessions.end({ id: session!.id, why: "logout", by: OPERATOR });
    // No session is left to end, but the event is there because of the token.
    await endAll(ended.userId);
    await endAll(ended.userId);
    expect((await about(ended.userId)).filter(([kind]) => kind === "session.ended")).toEqual([["session.ended", "1"]]);
    const disabled = await newReset();
    await disable(disabled.userId);
    await enable(disabled.userId);
    expect(await about(disabled.userId)).toContainEqual(["user.disabled", "1"]);
    expect(await about(disabled.userId)).toContainEqual(["user.enabled", undefined]);
  });

  const RIVALS: [rival: string, make: (userId: string, at: ManagedDatabase) => Promise<unknown>][] = [
    ["the end of all sessions", endAll],
    ["a disabled account", disable],
    ["a changed password", changePassword],
  ];

  it.each(RIVALS)("sets no password after %s, even if it was read before that", async (_rival, make) => {
    const { userId, digest } = await newReset();
    const [, session] = await inThisOrder(test, userId, [(at) => make(userId, at), (at) => complete(digest, at)]);
    expect(session).toBeUndefined();
    expect((await users.secretsById(userId))?.passwordHash).not.toBe("reset");
  });

  it.each(RIVALS)("before %s begins a session that does not outlive that change", async (_rival, make) => {
    const { userId, digest } = await newReset();
    const [session, changed] = await inThisOrder(test, userId, [
      (at) => complete(digest, at),
      (at) => make(userId, at),
    ]);
    const { session: begun } = session as CompletedReset;
    const live = await sessions.listLive({ userId, after: undefined, limit: 5 });
    // A password change that was verified before the reset is refused, because the password is no longer current.
    expect(live.map(({ id }) => id)).toEqual(changed === undefined ? [begun.id] : []);
  });
});
