import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reportOf } from "../../src/cli/master-key-report.ts";
import { newId } from "../../src/lib/id.ts";
import { KeyRing } from "../../src/lib/key-ring.ts";
import { checkMasterKeys, readMasterKeyChecks } from "../../src/postgres/start/master-key-checks.ts";
import { countMasterKeyUses } from "../../src/postgres/start/master-key-uses.ts";
import { openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, newPeople, registered } from "../support/people.ts";

const master = (version: number) => ({ version, bytes: randomBytes(32) });
const [one, two, three] = [master(1), master(2), master(3)] as const;
const OPERATOR = { id: "", clientIp: "" };

describe.each(DATABASE_KINDS)("the master keys of a database on %s", (kind) => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await openDatabase(kind);
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  it("are checked and noted by each start, and only read by a count", async () => {
    const { database } = test;
    expect([...(await readMasterKeyChecks(database, new KeyRing([one])))]).toEqual([[1, "unknown"]]);
    expect(await database.read("select version from master_key_checks", [])).toEqual([]);
    await checkMasterKeys(database, new KeyRing([one]));
    await checkMasterKeys(database, new KeyRing([one, two]));
    await checkMasterKeys(database, new KeyRing([two]));
    const other = new KeyRing([{ ...two, bytes: randomBytes(32) }, three]);
    expect(new Map(await readMasterKeyChecks(database, other))).toEqual(
      new Map([
        [1, "not_in_ring"],
        [2, "other"],
        [3, "unknown"],
      ]),
    );
    await expect(checkMasterKeys(database, other)).rejects.toThrow(/version 2 has other bytes/);
  });

  it("are counted by what is kept under them, with ended secrets counted separately", async () => {
    const { database } = test;
    const { now } = database;
    const people = newPeople(test, { ring: new KeyRing([one]) });
    const { user } = await registered(people);
    await people.users.create({
      user: { ...user, id: newId("usr"), email: "a@example.com", emailNormalized: "a@example.com" },
      reset: { digest: randomBytes(32), ringVersion: 1, lifeMs: DAYS },
      by: OPERATOR,
    });
    const attempt = people.loginThrottle.begin({ clientIp: "192.0.2.9", name: "b", isGuess: true });
    await attempt.check("b");
    await attempt.count();
    const add = async (kindOfKey: "api" | "service", state: string, version: number, expiresIn?: string) => {
      const id = newId(kindOfKey === "api" ? "key" : "svc");
      await database.write(
        `insert into api_keys (id, kind, environment, name, description, prefix, owner_id, issuer_id, tier, scopes, metadata,
           allowed_ips, allowed_methods, state, service_controlled, created_at, version)
         values (?, ?, 'live', '', '', '', ?, '', '', '{}', '{}', '{}', '{}', ?, false, ${now}, 1)`,
        [id, kindOfKey, kindOfKey === "api" ? user.id : null, state],
      );
      await database.write(
        `insert into key_secrets (digest, key_id, pepper_version, created_at, expires_at)
         values (decode(?, 'hex'), ?, ?::int, ${now}, ${now} + ?::interval)`,
        [randomBytes(32).toString("hex"), id, version, expiresIn ?? null],
      );
    };
    await add("api", "active", 1, "1 hour");
    await add("api", "disabled", 1, "1 day");
    await add("api", "revoked", 1);
    await add("api", "active", 1, "-1 hour");
    await add("service", "active", 2);
    await add("api", "active", 2);

    const counts = await countMasterKeyUses(database);
    expect(counts.map(({ version, use, count }) => [version, use, count])).toEqual([
      [1, "api_key_secrets", 2],
      [1, "ended_secrets", 2],
      [1, "login_failures", 1],
      [1, "login_networks", 3],
      [1, "password_hashes", 1],
      [1, "reset_tokens", 1],
      [1, "sessions", 1],
      [1, "signing_keys", 1],
      [2, "api_key_secrets", 1],
      [2, "service_credential_secrets", 1],
    ]);
    const inMs = (use: string) =>
      (counts.find((each) => each.use === use)?.endsAtMs ?? Number.NaN) - test.clock.nowMs();
    expect(Math.abs(inMs("api_key_secrets") - DAYS)).toBeLessThan(60_000);
    expect(Math.abs(inMs("sessions") - 30 * DAYS)).toBeLessThan(60_000);
    expect(inMs("password_hashes")).toBeNaN();
    expect(await countMasterKeyUses(database, [2, 3])).toEqual(counts.slice(-2));
  });

  it("may be removed when nothing needs them; retired keys and expired data are no reason to keep one", async () => {
    const { database } = test;
    const standings = async (...ring: [typeof one, ...(typeof one)[]]) =>
      (await reportOf(database, new KeyRing(ring))).map(({ version, isInRing, reasons }) => [
        version,
        isInRing,
        reasons.map((reason) => reason.replace(/ until .*/, "")),
      ]);
    const ofOne = [
      ...["2 API key secrets", "1 session", "1 password hash", "1 signing key", "1 reset token"],
      "3 login networks",
    ];
    const ofTwo = ["1 API key secret", "1 service credential secret"];
    expect(await standings(three, two, one)).toEqual([
      [3, true, ["it is the first of the ring"]],
      [2, true, ofTwo],
      [1, true, ofOne],
    ]);
    expect(await standings(three, two)).toContainEqual([1, false, ofOne]);
    expect(await standings(one, two)).toContainEqual([
      2,
      true,
      [...ofTwo, "nothing moves from it to the first, 1, which is lower"],
    ]);
    test.clock.advance(31 * DAYS);
    await database.write("update users set password_hash = null", []);
    await database.write(`update signing_keys set retires_at = ${database.now} - interval '3 days'`, []);
    expect(await standings(two, one)).toEqual([
      [2, true, ["it is the first of the ring"]],
      [1, true, []],
    ]);
    // Rows from before they named their version may belong to any version.
    await database.write("update login_networks set ring_version = 0, forget_at = forget_at + interval '60 days'", []);
    expect(await standings(two, one)).toContainEqual([1, true, ["3 login networks"]]);
  });
});
