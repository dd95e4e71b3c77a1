/** The effect of a password reset on the API keys of the account. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/audit/audit-event.ts";
import type { ManagedDatabase } from "../../src/postgres/database.ts";
import { NOTE_KNOWN_LOGINS } from "../../src/postgres/migrations/0013-key-revocation-by-reset.ts";
import { PostgresAuditStore } from "../../src/postgres/stores/audit-store.ts";
import { PostgresKeyStore } from "../../src/postgres/stores/key-store.ts";
import { PostgresPasswordResetStore } from "../../src/postgres/stores/password-reset-store.ts";
import { PostgresSessionStore } from "../../src/postgres/stores/session-store.ts";
import { PostgresUserStore } from "../../src/postgres/stores/user-store.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { inThisOrder, waiting } from "../support/lock-order.ts";
import { DAYS, OPERATOR, refusalOf } from "../support/people.ts";
import { ENTRY, inserted, newKey } from "../support/stored-keys.ts";
import { HOME, newStoredReset, newStoredSession, newStoredUser } from "../support/stored-users.ts";
import { until } from "../support/until.ts";

describe.each(DATABASE_KINDS)("a password reset on %s", (kind) => {
  let test: TestDatabase;
  let users: PostgresUserStore;
  let sessions: PostgresSessionStore;
  let resets: PostgresPasswordResetStore;
  let keys: PostgresKeyStore;
  let audit: PostgresAuditStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    users = new PostgresUserStore(test.database);
    sessions = new PostgresSessionStore(test.database);
    resets = new PostgresPasswordResetStore(test.database);
    keys = new PostgresKeyStore(test.database);
    audit = new PostgresAuditStore(test.database);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  async function registered(): Promise<string> {
    const user = newStoredUser(["*"]);
    await users.register({ user, passwordHash: "hash", session: newStoredSession(HOME) });
    return user.id;
  }

  const loginFrom = (userId: string, clientIp: string) =>
    sessions.begin({ userId, passwordVersion: 1, session: newStoredSession(clientIp) });
  const complete = (digest: Uint8Array, revokeKeys?: boolean, at = test.database) =>
    new PostgresPasswordResetStore(at).complete({
      digests: [digest],
      passwordHash: "new",
      session: newStoredSession(HOME),
      clientIp: HOME,
      revokeKeys,
    });

  async function create(userId: string, wish: { revokeKeys?: boolean; endAccess?: boolean } = {}) {
    const reset = newStoredReset();
    const created = await resets.create({ userId, reset, by: OPERATOR, ...wish });
    if (created.kind !== "created") throw new Error(created.kind);
    return { digest: reset.digest, revokesKeys: created.revokesKeys };
  }

  async function eventsAbout(subjectId: string): Promise<readonly AuditEvent[]> {
    return (await audit.list({ subjectId, actorId: "", startMs: undefined, endMs: undefined }, 50, undefined)).items;
  }

  const stateOf = async (keyId: string) => (await keys.find("api", keyId))?.key.state;

  it("revokes every key of the owner in any state, no other key, and audits each with actor and reason", async () => {
    const [userId, otherId] = [await registered(), await registered()];
    const own = [
      await inserted(keys, newKey(userId)),
      await inserted(keys, newKey(userId, { issuerId: OPERATOR.id, serviceControlled: true })),
      await inserted(keys, newKey(userId, { expiresAtMs: test.clock.nowMs() - 1000 })),
      await inserted(keys, newKey(userId)),
    ];
    await keys.change(own[3]!.id, 1, { state: "disabled", disabledBy: OPERATOR.id }, ENTRY);
    const before = await inserted(keys, newKey(userId));
    await keys.change(before.id, 1, { state: "revoked", revokeReason: "lost" }, ENTRY);
    const revokedAtMs = (await keys.find("api", before.id))?.key.revokedAtMs;
    const others = await inserted(keys, newKey(otherId));
    const { digest } = await create(userId, { revokeKeys: true });
    test.changes.length = 0;
    test.clock.advance(1000);
    expect(await complete(digest)).toMatchObject({ revokedKeys: own.length });
    for (const { id, version } of own) {
      const { key } = (await keys.find("api", id))!;
      expect(key).toMatchObject({ state: "revoked", revokedAtMs: expect.any(Number) });
      expect(key.version).toBeGreaterThan(version);
      const [event] = await eventsAbout(id);
      const details = { reason: "password_reset", decided_by: OPERATOR.id };
      expect(event).toMatchObject({ kind: "key.revoked", actorId: userId, clientIp: HOME, details });
    }
    expect((await keys.find("api", before.id))?.key.revokedAtMs).toBe(revokedAtMs);
    expect(await stateOf(others.id)).toBe("active");
    expect(test.changes.filter((change) => change.kind === "OWNER")).toEqual([{ kind: "OWNER", subjectId: userId }]);
    expect(test.changes.filter((change) => change.kind === "KEY")).toEqual([]);
    const [reset] = (await eventsAbout(userId)).filter(({ kind }) => kind === "user.password_reset");
    expect(reset?.details).toEqual({ revoked_keys: "4", decided_by: OPERATOR.id });
  });

  it("revokes more keys than one statement can, with one event for each and one change for all", async () => {
    const userId = await registered();
    const many = 1100;
    await test.database.write(
      `insert into api_keys (id, kind, environment, name, description, prefix, owner_id, issuer_id, tier, scopes,
         metadata, allowed_ips, allowed_methods, state, service_controlled, created_at, version)
       select 'key_' || lpad(n::text, 16, '0'), 'api', 'live', '', '', '', ?, '', 'basic', '{}', '{}', '{}', '{}',
         'active', false, ${test.database.now}, 1 from generate_series(1, ${many}) n`,
      [userId],
    );
    const { digest } = await create(userId, { revokeKeys: true });
    test.changes.length = 0;
    expect(await complete(digest)).toMatchObject({ revokedKeys: many });
    expect(test.changes.filter((change) => change.kind !== "SESSION")).toEqual([{ kind: "OWNER", subjectId: userId }]);
    const [row] = await test.database.read(
      `select (select count(*) from api_keys where owner_id = ? and state = 'revoked')::int as revoked,
         (select count(distinct subject_id) from audit_events where actor_id = ? and kind = 'key.revoked')::int as told`,
      [userId, userId],
    );
    expect(row).toMatchObject({ revoked: many, told: many });
  });

  it("keeps the keys if that was the decision, and reports no change to copies", async () => {
    const userId = await registered();
    const key = await inserted(keys, newKey(userId));
    const kept = await create(userId, { revokeKeys: false });
    test.changes.length = 0;
    expect(await complete(kept.digest)).toMatchObject({ revokedKeys: 0 });
    expect(await stateOf(key.id)).toBe("active");
    expect(test.changes.filter((change) => change.kind === "OWNER")).toEqual([]);
    // The person may revoke what the operator wanted to keep, because the keys belong to the person.
    const revoked = await create(userId, { revokeKeys: false });
    expect(await complete(revoked.digest, true)).toMatchObject({ revokedKeys: 1 });
    expect((await eventsAbout(key.id))[0]?.details).toEqual({ reason: "password_reset", decided_by: "person" });
  });

  it("revokes nothing if it fails", async () => {
    const userId = await registered();
    const key = await inserted(keys, newKey(userId));
    const { digest } = await create(userId, { revokeKeys: true });
    // The session exists already, so the last statement of the reset fails.
    const session = (await loginFrom(userId, HOME))!;
    const input = { digests: [digest], passwordHash: "new", clientIp: HOME };
    await expect(
      resets.complete({ ...input, session: { ...newStoredSession(HOME), id: session.id } }),
    ).rejects.toThrow();
    expect(await stateOf(key.id)).toBe("active");
    expect((await users.secretsById(userId))?.passwordHash).toBe("hash");
    expect(await complete(digest)).toMatchObject({ revokedKeys: 1 });
  });

  it.each<[account: string, make: () => Promise<string>, revokes: boolean]>([
    ["that was only registered", registered, true],
    ["with a login from where it was registered", () => withLogins(HOME), false],
    ["with a login from a neighbour's address", () => withLogins("192.0.2.77"), false],
    ["with a login from elsewhere", () => withLogins("198.51.100.1"), true],
    ["with two logins from elsewhere", () => withLogins("198.51.100.1", "198.51.100.2"), false],
    ["with logins from two other places", () => withLogins("198.51.100.1", "203.0.113.1"), true],
    ["that was logged in to 31 days after it was registered", () => withLateLogin(31), true],
    ["that was logged in to 29 days after it was registered", () => withLateLogin(29), false],
    ["without a password", unheld, false],
  ])("without a decision applies the rule to an account %s", async (_account, make, revokes) => {
    const userId = await make();
    const key = await inserted(keys, newKey(userId));
    const { digest, revokesKeys } = await create(userId);
    expect(revokesKeys).toBe(revokes);
    expect(await complete(digest)).toMatchObject({ revokedKeys: revokes ? 1 : 0 });
    expect(await stateOf(key.id)).toBe(revokes ? "revoked" : "active");
    const reason = { reason: "password_reset", decided_by: "rule" };
    if (revokes) expect((await eventsAbout(key.id))[0]?.details).toEqual(reason);
  });

  async function withLogins(...from: readonly string[]): Promise<string> {
    const userId = await registered();
    for (const clientIp of from) await loginFrom(userId, clientIp);
    return userId;
  }

  async function withLateLogin(days: number): Promise<string> {
    const userId = await registered();
    test.clock.advance(days * DAYS);
    await loginFrom(userId, HOME);
    return userId;
  }

  async function unheld(): Promise<string> {
    const user = newStoredUser(["*"]);
    await users.create({ user, reset: newStoredReset(), by: OPERATOR });
    return user.id;
  }

  it("is judged by the account as it was when the token was created, whatever its holder does later", async () => {
    const userId = await registered();
    const key = await inserted(keys, newKey(userId));
    const { digest, revokesKeys } = await create(userId);
    expect(revokesKeys).toBe(true);
    test.clock.advance(1000);
    await loginFrom(userId, HOME);
    expect(await complete(digest)).toMatchObject({ revokedKeys: 1 });
    expect(await stateOf(key.id)).toBe("revoked");
  });

  it("can end all access except the token, from the moment at which it is created", async () => {
    const userId = await registered();
    const { digest } = await create(userId, { endAccess: true });
    expect(await sessions.listLive({ userId, after: undefined, limit: 5 })).toEqual([]);
    expect(await users.secretsById(userId)).toMatchObject({ passwordHash: undefined, passwordVersion: 2 });
    // A login that verified the password before this moment is too late.
    expect(await loginFrom(userId, HOME)).toBeUndefined();
    const [event] = (await eventsAbout(userId)).filter(({ kind }) => kind === "user.reset_token_created");
    expect(event?.details).toEqual({ ended_sessions: "1" });
    expect(await complete(digest)).toBeDefined();
    expect((await users.secretsById(userId))?.passwordHash).toBe("new");
  });

  it("still treats an account that never had a password as such after its access was ended", async () => {
    const userId = await unheld();
    await inserted(keys, newKey(userId));
    const { digest, revokesKeys } = await create(userId, { endAccess: true });
    expect(revokesKeys).toBe(false);
    expect(await complete(digest)).toMatchObject({ revokedKeys: 0 });
  });

  describe("ends a session, so that", () => {
    /** A session of a person, and a key that it may issue or change. */
    async function squatter() {
      const userId = await registered();
      const [session] = await sessions.listLive({ userId, after: undefined, limit: 1 });
      const key = await inserted(keys, newKey(userId));
      return { userId, key, entry: { ...ENTRY, sessionId: session!.id } };
    }

    it("the session no longer issues, rotates or changes a key, even if a copy of the session still counts as live", async () => {
      const { userId, key, entry } = await squatter();
      // Control: before the reset it can.
      expect(await keys.change(key.id, 1, { name: "mine" }, entry)).toMatchObject({ kind: "changed" });
      const { digest } = await create(userId, { revokeKeys: false });
      await complete(digest);
      const secret = { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined };
      const most = { overlapMs: 0, maxLiveSecrets: 8, maxEndedSecrets: 8, request: undefined };
      const refused = [
        await refusalOf(keys.insert(newKey(userId), entry)),
        await refusalOf(keys.change(key.id, 2, { name: "again" }, entry)),
        await refusalOf(keys.addSecret({ keyId: key.id, expectedVersion: 2, secret, ...most }, entry)),
      ];
      expect(refused.map(({ reason }) => reason)).toEqual(new Array(3).fill("CREDENTIAL_INVALID"));
      expect(await keys.find("api", key.id)).toMatchObject({ key: { name: "mine", version: 2 } });
    });

    it("the session issues no key that outlives it, whether the issue or the reset comes first", async () => {
      for (const isIssuedFirst of [true, false]) {
        const { userId, entry } = await squatter();
        const { digest } = await create(userId, { revokeKeys: true });
        const issue = (at: ManagedDatabase) =>
          new PostgresKeyStore(at).insert(newKey(userId), entry).catch(({ reason }) => reason);
        const reset = (at: ManagedDatabase) => complete(digest, undefined, at);
        const outcomes = await inThisOrder(test, userId, isIssuedFirst ? [issue, reset] : [reset, issue]);
        expect(outcomes[isIssuedFirst ? 1 : 0]).toMatchObject({ revokedKeys: isIssuedFirst ? 2 : 1 });
        if (!isIssuedFirst) expect(outcomes[1]).toBe("CREDENTIAL_INVALID");
        const filter = { kind: "api" as const, ownerId: userId, showEnded: false };
        expect((await keys.list(filter, 10, undefined)).items).toEqual([]);
      }
    });
  });

  it.runIf(kind === "postgres")("waits for a rotation under way, which is the last one of the session", async () => {
    const userId = await registered();
    const [session] = await sessions.listLive({ userId, after: undefined, limit: 1 });
    const key = await inserted(keys, newKey(userId));
    const { digest } = await create(userId, { revokeKeys: false });
    const secret = { digest: randomBytes(32), pepperVersion: 1, expiresAtMs: undefined };
    const most = { overlapMs: 0, maxLiveSecrets: 8, maxEndedSecrets: 8, request: undefined };
    const ends: string[] = [];
    const running: Promise<unknown>[] = [];
    await test.database.transact(async (tx) => {
      await tx.em.execute("select 1 from api_keys where id = ? for update", [key.id]);
      const rotation = { keyId: key.id, expectedVersion: 1, secret, ...most };
      running.push(keys.addSecret(rotation, { ...ENTRY, sessionId: session!.id }).then(() => ends.push("rotation")));
      await until(async () => (await waiting(test.database)) === 1, "the rotation waits for its key");
      running.push(complete(digest).then(() => ends.push("reset")));
      await until(
        async () => (await waiting(test.database)) === 2 || ends.length > 0,
        "the reset waits for the rotation",
      );
    });
    await Promise.all(running);
    expect(ends).toEqual(["rotation", "reset"]);
  });

  it("finds logins from before this version in the audit trail", async () => {
    const [used, registeredOnly] = [await withLogins(HOME), await registered()];
    await test.database.write("delete from known_logins", []);
    await test.database.unproven(NOTE_KNOWN_LOGINS, []);
    expect((await create(used)).revokesKeys).toBe(false);
    expect((await create(registeredOnly)).revokesKeys).toBe(true);
  });
});
