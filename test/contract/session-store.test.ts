import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { NewSession, Session } from "../../src/auth/session.ts";
import type { SessionStore } from "../../src/auth/session-store.ts";
import type { UserStore } from "../../src/auth/user-store.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, freshEmail, SECONDS } from "../support/people.ts";

const OPERATOR = { id: "", clientIp: "192.0.2.7" };

function newSession(more: Partial<NewSession> = {}): NewSession {
  return {
    id: newId("ses"),
    seed: randomBytes(32),
    ringVersion: 3,
    idleMs: 7 * DAYS,
    absoluteMs: 30 * DAYS,
    userAgent: 'it\'s \\ a "test" ? $1 ?::int; --',
    clientIp: "2001:db8::7",
    ...more,
  };
}

describe.each(DATABASE_KINDS)("SessionStore on %s", (kind) => {
  let test: TestDatabase;
  let users: UserStore;
  let store: SessionStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    users = new PostgresUserStore(test.database);
    store = byTurns((await test.processes()).map((database) => new PostgresSessionStore(database)));
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  /** A user of password version 1 with one session. */
  async function newUser(session = newSession()) {
    const email = freshEmail();
    const user = { id: newId("usr"), email, emailNormalized: email, displayName: "", tier: "basic", scopes: [] };
    const added = await users.register({ user, passwordHash: "hash", session });
    return { userId: user.id, session: added!.session };
  }

  function advance(id: string, generation: number) {
    return store.advance({ id, generation, idleMs: 7 * DAYS, graceMs: 10 * SECONDS, clientIp: "192.0.2.1" });
  }

  async function granted(id: string, generation: number) {
    const outcome = await advance(id, generation);
    if (outcome.kind !== "granted") throw new Error(outcome.kind);
    return outcome.session;
  }

  function sessionChanges(id: string) {
    return test.changes.filter((change) => change.kind === "SESSION" && change.subjectId === id).length;
  }

  it("returns a session as it began", async () => {
    const { userId } = await newUser();
    const wanted = newSession();
    const begun = await store.begin({ userId, passwordVersion: 1, session: wanted });
    expect(begun).toEqual({
      id: wanted.id,
      userId,
      seed: wanted.seed,
      ringVersion: 3,
      generation: 1,
      createdAtMs: expect.any(Number),
      refreshedAtMs: begun!.createdAtMs,
      expiresAtMs: begun!.createdAtMs + 7 * DAYS,
      userAgent: wanted.userAgent,
      clientIp: wanted.clientIp,
    });
    expect(Math.abs(begun!.createdAtMs - test.clock.nowMs())).toBeLessThan(5 * SECONDS);
    expect(await store.refreshSecret(wanted.id)).toEqual({ seed: wanted.seed, ringVersion: 3 });
    expect(await store.standing(wanted.id)).toMatchObject({
      standing: { id: wanted.id, userId, userState: "active", expiresAtMs: begun!.expiresAtMs, endedAtMs: undefined },
      databaseMs: expect.any(Number),
    });
  });

  it("finds nothing for an unknown session", async () => {
    const id = newId("ses");
    expect((await store.standing(id)).standing).toBeUndefined();
    expect(await store.refreshSecret(id)).toBeUndefined();
    expect(await advance(id, 1)).toEqual({ kind: "not_live" });
    expect(await store.end({ id, why: "logout", by: OPERATOR })).toBe("unknown");
  });

  it("begins no session for an unknown user, another password version, or a disabled user", async () => {
    const { userId } = await newUser();
    const begin = (id: string, passwordVersion: number) =>
      store.begin({ userId: id, passwordVersion, session: newSession() });
    expect(await begin(newId("usr"), 1)).toBeUndefined();
    expect(await begin(userId, 2)).toBeUndefined();
    expect(await begin(userId, 0)).toBeUndefined();
    await users.disable({ id: userId, by: OPERATOR });
    expect(await begin(userId, 1)).toBeUndefined();
  });

  it("reads concurrent standings by one statement, and gives each caller their own", async () => {
    const people = [];
    for (let n = 0; n < 20; n++) people.push(await newUser());
    await store.end({ id: people[3]!.session.id, userId: undefined, why: "revoked", by: OPERATOR });
    const one = new PostgresSessionStore(test.database);
    const reads = vi.spyOn(test.database, "hotRead");
    const unknown = newId("ses");
    const ids = [...people.map(({ session }) => session.id), unknown, people[0]!.session.id];
    const standings = await Promise.all(ids.map((id) => one.standing(id)));
    expect(reads).toHaveBeenCalledTimes(1);
    expect(standings.map(({ standing }) => standing?.id)).toEqual(ids.map((id) => (id === unknown ? undefined : id)));
    const ended = standings.filter(({ standing }) => standing?.endedAtMs !== undefined);
    expect(ended.map(({ standing }) => standing?.userId)).toEqual([people[3]!.userId]);
    // Control: one after another, each costs a statement.
    for (const { session } of people) await one.standing(session.id);
    expect(reads).toHaveBeenCalledTimes(1 + people.length);
  });

  it("reads an id literally, whatever it contains", async () => {
    for (const id of ['"', "\\", "},{", "null", "", 'a","b', "'; --"]) {
      expect((await store.standing(id)).standing).toBeUndefined();
    }
  });

  it("advances no session of an inactive user, even if the session has not ended", async () => {
    const { userId, session } = await newUser();
    await test.database.write("update users set state = 'disabled' where id = ?", [userId]);
    expect(await advance(session.id, 1)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
    await test.database.write("update users set state = 'active' where id = ?", [userId]);
    expect((await advance(session.id, 1)).kind).toBe("granted");
  });

  it("advances once for any number of concurrent callers, and gives all the same successor", async () => {
    for (let round = 0; round < 3; round++) {
      const { session } = await newUser();
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => granted(session.id, 1)));
      expect(new Set(outcomes.map((each) => JSON.stringify(each))).size).toBe(1);
      expect(outcomes[0]).toMatchObject({ generation: 2, seed: session.seed });
      expect(await granted(session.id, 2)).toMatchObject({ generation: 3 });
    }
  });

  it("changes nothing at a replay within the grace, however often", async () => {
    const { session } = await newUser();
    const successor = await granted(session.id, 1);
    test.clock.advance(9 * SECONDS);
    expect(await granted(session.id, 1)).toEqual(successor);
    expect(await granted(session.id, 1)).toEqual(successor);
    expect(sessionChanges(session.id)).toBe(0);
  });

  it("ends the session forever at a replay after the grace", async () => {
    for (let round = 0; round < 10; round++) {
      const { session, userId } = await newUser();
      await granted(session.id, 1);
      test.clock.advance(11 * SECONDS);
      expect(await advance(session.id, 1)).toEqual({ kind: "reused", userId });
      expect(await advance(session.id, 1)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
      expect(await advance(session.id, 2)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
      expect((await store.standing(session.id)).standing?.endedAtMs).toBeDefined();
      expect(sessionChanges(session.id)).toBe(1);
    }
  });

  it("ends the session at a token that is two generations old, even within the grace", async () => {
    const { session, userId } = await newUser();
    await granted(session.id, 1);
    await granted(session.id, 2);
    expect(await advance(session.id, 1)).toEqual({ kind: "reused", userId });
    expect(await advance(session.id, 3)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
  });

  it("gives a replay and a concurrent use of the newest token one outcome each", async () => {
    const { session } = await newUser();
    await granted(session.id, 1);
    test.clock.advance(11 * SECONDS);
    const [newest, old] = await Promise.all([advance(session.id, 2), advance(session.id, 1)]);
    expect(old.kind).toBe("reused");
    expect(["granted", "not_live"]).toContain(newest.kind);
    expect(await advance(session.id, 3)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
  });

  it("tells a later generation apart, and changes nothing", async () => {
    const { session, userId } = await newUser();
    expect(await advance(session.id, 2)).toEqual({ kind: "ahead", userId });
    expect(await granted(session.id, 1)).toMatchObject({ generation: 2 });
  });

  it("restarts the idle time at each advance, but never beyond the absolute end", async () => {
    const { session } = await newUser();
    let newest = session;
    for (let day = 0; day < 24; day += 6) {
      test.clock.advance(6 * DAYS);
      newest = await granted(session.id, newest.generation);
    }
    expect(newest.expiresAtMs).toBeGreaterThan(session.createdAtMs + 29 * DAYS);
    expect(newest.expiresAtMs).toBe(session.createdAtMs + 30 * DAYS);
    test.clock.advance(5 * DAYS);
    newest = await granted(session.id, newest.generation);
    expect(newest.expiresAtMs).toBe(session.createdAtMs + 30 * DAYS);
    test.clock.advance(DAYS);
    expect(await advance(session.id, newest.generation)).toMatchObject({
      kind: "not_live",
      userId: expect.stringMatching(/^usr_/),
    });
  });

  it("lets an idle session expire by the database's clock", async () => {
    const { session } = await newUser();
    test.clock.advance(7 * DAYS);
    expect(await advance(session.id, 1)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
  });

  it("ends a session once, only for the given user, and reports it", async () => {
    const { session, userId } = await newUser();
    const { userId: stranger } = await newUser();
    const end = (ofUser: string) => store.end({ id: session.id, userId: ofUser, why: "revoked", by: OPERATOR });
    expect(await end(stranger)).toBe("anothers");
    expect((await store.standing(session.id)).standing?.endedAtMs).toBeUndefined();
    expect(await end(userId)).toBe("ended");
    const endedAtMs = (await store.standing(session.id)).standing?.endedAtMs;
    expect(endedAtMs).toBeDefined();
    test.clock.advance(SECONDS);
    expect(await end(userId)).toBe("ended");
    expect((await store.standing(session.id)).standing?.endedAtMs).toBe(endedAtMs);
    const told = await test.database.read("select kind from changes where subject_id = ?", [session.id]);
    expect(told.map(({ kind }) => kind)).toEqual(["SESSION"]);
    // Another process may have ended it, so each such call reports it to the copies of this process.
    expect(sessionChanges(session.id)).toBe(2);
    expect(await advance(session.id, 1)).toMatchObject({ kind: "not_live", userId: expect.stringMatching(/^usr_/) });
  });

  it("ends the oldest sessions above 50 live ones, even if logins are concurrent", async () => {
    const { userId, session } = await newUser();
    const begin = () => store.begin({ userId, passwordVersion: 1, session: newSession() });
    for (let i = 1; i < 50; i++) await begin();
    expect((await store.standing(session.id)).standing?.endedAtMs).toBeUndefined();
    test.clock.advance(1);
    await Promise.all(Array.from({ length: 5 }, begin));
    const live = await store.listLive({ userId, after: undefined, limit: 100 });
    expect(live).toHaveLength(50);
    expect((await store.standing(session.id)).standing?.endedAtMs).toBeDefined();
  });

  it("lists live sessions newest first in pages without gap or repetition", async () => {
    const { userId, session } = await newUser();
    const ids = [session.id];
    // Some have the same millisecond of the database's clock, some do not.
    for (let i = 0; i < 12; i++)
      ids.push((await store.begin({ userId, passwordVersion: 1, session: newSession() }))!.id);
    await store.end({ id: ids[3]!, why: "logout", by: OPERATOR });
    const listed: Session[] = [];
    for (let page = 0; page < 4; page++) {
      listed.push(...(await store.listLive({ userId, after: listed.at(-1), limit: 5 })));
    }
    expect(listed.map((each) => each.id).toSorted()).toEqual(ids.filter((id) => id !== ids[3]).toSorted());
    const order = listed.map((each) => [-each.createdAtMs, each.id] as const);
    expect(order.toSorted((a, b) => a[0] - b[0] || (a[1] < b[1] ? 1 : -1))).toEqual(order);
  });

  it.each(["disable", "changePassword"] as const)("keeps no session of a login that races with %s", async (what) => {
    // PGlite has one connection, so nothing overlaps there.
    for (let round = 0; round < (kind === "embedded" ? 2 : 15); round++) {
      const { userId } = await newUser();
      const logins = Array.from({ length: 4 }, () =>
        store.begin({ userId, passwordVersion: 1, session: newSession() }),
      );
      const survivor = newSession();
      const change =
        what === "disable"
          ? users.disable({ id: userId, by: OPERATOR })
          : users.changePassword({
              id: userId,
              expectedVersion: 1,
              passwordHash: "new",
              session: survivor,
              by: OPERATOR,
            });
      await Promise.all([...logins, change]);
      const live = await store.listLive({ userId, after: undefined, limit: 100 });
      expect(live.map((each) => each.id)).toEqual(what === "disable" ? [] : [survivor.id]);
    }
  });

  it("ends all sessions of a user together, and those of no other user", async () => {
    const [{ userId, session }, other] = [await newUser(), await newUser()];
    const second = await store.begin({ userId, passwordVersion: 1, session: newSession() });
    const end = () => store.endAllOf({ userId, why: "ended_by_operator", by: OPERATOR });
    expect(await end()).toBe(true);
    expect(await store.listLive({ userId, after: undefined, limit: 10 })).toEqual([]);
    expect(await store.listLive({ userId: other.userId, after: undefined, limit: 10 })).toHaveLength(1);
    expect([session.id, second!.id].map(sessionChanges)).toEqual([1, 1]);
    // A second call changes nothing, and the user may log in again.
    expect(await end()).toBe(true);
    expect([session.id, second!.id].map(sessionChanges)).toEqual([1, 1]);
    expect(await store.begin({ userId, passwordVersion: 1, session: newSession() })).toBeDefined();
    expect(await store.endAllOf({ userId: newId("usr"), why: "ended_by_operator", by: OPERATOR })).toBe(false);
  });

  it("reports those sessions of a user whose tokens may be good, and none that expired before", async () => {
    const { userId, session } = await newUser(newSession({ idleMs: 3 * DAYS }));
    const lately = await store.begin({
      userId,
      passwordVersion: 1,
      session: newSession({ idleMs: 3 * DAYS + 60_000 }),
    });
    test.clock.advance(4 * DAYS + 30_000);
    const live = await store.begin({ userId, passwordVersion: 1, session: newSession() });
    expect(await store.endAllOf({ userId, why: "ended_by_operator", by: OPERATOR })).toBe(true);
    expect([session.id, lately!.id, live!.id].map(sessionChanges)).toEqual([0, 1, 1]);
  });

  it("deletes sessions a week after their absolute end, however they ended, and then knows none of their tokens", async () => {
    const { userId, session } = await newUser();
    const ended = await store.begin({ userId, passwordVersion: 1, session: newSession() });
    await store.end({ id: ended!.id, why: "logout", by: OPERATOR });
    const later = await store.begin({ userId, passwordVersion: 1, session: newSession({ absoluteMs: 31 * DAYS }) });
    const known = async () => {
      const all = [session.id, ended!.id, later!.id];
      return (await Promise.all(all.map((id) => store.refreshSecret(id)))).map((secret) => secret !== undefined);
    };
    test.clock.advance(37 * DAYS - 60_000);
    await store.prune();
    expect(await known()).toEqual([true, true, true]);
    test.clock.advance(120_000);
    await store.prune();
    expect(await known()).toEqual([false, false, true]);
    expect(await advance(session.id, 1)).toEqual({ kind: "not_live" });
    expect((await store.standing(session.id)).standing).toBeUndefined();
  });
});
