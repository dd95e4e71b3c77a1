import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CountedFailure, LoginFailureStore, LoginSubject } from "../../src/auth/throttle/login-failure-store.ts";
import type { CountedNetwork } from "../../src/auth/throttle/login-limits.ts";
import { newId } from "../../src/lib/id.ts";
import { PostgresLoginFailureStore } from "../../src/postgres/stores/login-failure-store.ts";
import { byTurns, openDatabase, type TestDatabase } from "../support/database.ts";
import { DATABASE_KINDS } from "../support/database-kinds.ts";
import { DAYS, OPERATOR, SECONDS } from "../support/people.ts";

const MINUTES = 60 * SECONDS;

/** The first attempt on an account, from an unused network and address. */
function newSubject(more: Partial<LoginSubject> = {}): LoginSubject {
  const tag = randomBytes(8).toString("hex");
  const accounts: LoginSubject["accounts"] = [randomBytes(32)];
  return {
    accounts,
    ringVersion: 1,
    network: `net ${tag}`,
    address: `ip ${tag}`,
    isGuess: true,
    addressHashes: 30,
    networks: [],
    ...more,
  };
}

const from = (subject: LoginSubject, network: string): LoginSubject => ({ ...newSubject(), ...subject, network });

describe.each(DATABASE_KINDS)("LoginFailureStore on %s", (kind) => {
  let test: TestDatabase;
  let store: LoginFailureStore;
  beforeAll(async () => {
    test = await openDatabase(kind);
    store = byTurns((await test.processes()).map((database) => new PostgresLoginFailureStore(database)));
  });
  afterAll(() => test?.[Symbol.asyncDispose]());

  async function counted(subject: LoginSubject): Promise<CountedFailure> {
    const outcome = await store.count(subject);
    if ("retryAfterMs" in outcome) throw new Error(`refused for ${outcome.retryAfterMs} ms`);
    return outcome;
  }

  /** Counts this number of failures of an account, each from another network and address. */
  async function failFromEverywhere(subject: LoginSubject, times: number): Promise<void> {
    for (let n = 0; n < times; n++) await counted({ ...newSubject(), accounts: subject.accounts });
  }

  /**
   * The account after that many failures from everywhere: five are counted, and the rest is written to its row. That
   * each of 90 is let in is the guarantee of another test.
   */
  async function haveFailed(subject: LoginSubject, times: number): Promise<void> {
    await failFromEverywhere(subject, 5);
    await test.database.write(
      "update login_accounts set failures = failures + ?::int where account_digest = decode(?, 'hex')",
      [times - 5, Buffer.from(subject.accounts[0]).toString("hex")],
    );
  }

  const failuresOf = async (subject: LoginSubject) => (await store.find(subject)).failures;

  it("finds no failures of an account that never failed", async () => {
    const { failures, nowMs } = await store.find(newSubject());
    expect(failures).toEqual({
      ofAccount: 0,
      ofNetwork: 0,
      networkFailedAtMs: undefined,
      networkLoggedInAtMs: undefined,
      own: [],
      addressFailedAtMs: [],
      addressHashedAtMs: [],
      networkHashedAtMs: [],
    });
    expect(Math.abs(nowMs - test.clock.nowMs())).toBeLessThan(5 * SECONDS);
  });

  it("returns what it counted", async () => {
    const subject = newSubject();
    const first = await counted(subject);
    const second = await counted(subject);
    expect([first.ofAccount, second.ofAccount]).toEqual([1, 2]);
    expect(await failuresOf(subject)).toEqual({
      ofAccount: 2,
      ofNetwork: 2,
      networkFailedAtMs: second.atMs,
      networkLoggedInAtMs: undefined,
      own: [],
      addressFailedAtMs: [first.atMs, second.atMs],
      addressHashedAtMs: [first.atMs, second.atMs],
      networkHashedAtMs: [],
    });
    expect(await failuresOf(from(subject, "another"))).toMatchObject({ ofAccount: 2, ofNetwork: 0 });
  });

  it("counts an attempt that is no guess only for its address", async () => {
    const subject = newSubject({ isGuess: false });
    expect(await counted(subject)).toMatchObject({ ofAccount: 0 });
    const { addressFailedAtMs, addressHashedAtMs: _, ...others } = await failuresOf(subject);
    expect(addressFailedAtMs).toHaveLength(1);
    expect(others).toMatchObject({ ofAccount: 0, ofNetwork: 0 });
  });

  it("makes a network wait after five failures, and a refused attempt does not prolong the wait", async () => {
    const subject = newSubject();
    for (let n = 0; n < 5; n++) await counted(subject);
    expect(await store.count(subject)).toEqual({ retryAfterMs: 1000, of: "account" });
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: 5, ofNetwork: 5 });
    test.clock.advance(1000);
    await counted(subject);
    expect(await store.count(subject)).toEqual({ retryAfterMs: 2000, of: "account" });
    await counted(from(subject, "another"));
  });

  it("lets a network start again after a day, but does not forget the failures of the account", async () => {
    const subject = newSubject();
    for (let n = 0; n < 5; n++) await counted(subject);
    test.clock.advance(DAYS);
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: 5, ofNetwork: 0, networkFailedAtMs: undefined });
    await counted(subject);
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: 6, ofNetwork: 1 });
  });

  it("admits at most 5 of 50 concurrent attempts from one network", async () => {
    const subject = newSubject();
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () => store.count({ ...subject, address: newSubject().address })),
    );
    const times = outcomes.flatMap((outcome) => ("atMs" in outcome ? [outcome.atMs] : [])).sort((x, y) => x - y);
    expect(times.length).toBeGreaterThanOrEqual(5);
    // On a slow machine the first wait of 1 s ends before the 50th attempt runs, and a sixth is admitted after it.
    expect((times[5] ?? Number.POSITIVE_INFINITY) - times[4]!).toBeGreaterThanOrEqual(SECONDS);
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: times.length });
  });

  it("admits 50 concurrent logins of one address only up to its limit of hashes, even with good passwords", async () => {
    const { address } = newSubject();
    const judged = { address, addressHashes: 7 };
    const loggedIn = async (subject: LoginSubject) => {
      const outcome = await store.count(subject);
      if (!("of" in outcome)) await store.succeed(subject, outcome);
      return outcome;
    };
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => loggedIn(newSubject(judged))));
    expect(outcomes.filter((outcome) => "of" in outcome && outcome.of === "address")).toHaveLength(43);
    const { addressFailedAtMs, addressHashedAtMs } = await failuresOf(newSubject({ address }));
    expect([addressFailedAtMs.length, addressHashedAtMs.length]).toEqual([0, 7]);
    expect(await store.countHash(newSubject(judged))).toMatchObject({ of: "address" });
    expect(await store.countHash(newSubject())).toBeUndefined();
    test.clock.advance(60_000);
    expect(await store.countHash(newSubject(judged))).toBeUndefined();
    expect(await failuresOf(newSubject({ address }))).toMatchObject({ addressFailedAtMs: [], ofAccount: 0 });
    expect((await failuresOf(newSubject({ address }))).addressHashedAtMs).toHaveLength(1);
  });

  it("admits at most 20 of 50 concurrent attempts from one address, whatever their accounts", async () => {
    const { address } = newSubject();
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => store.count(newSubject({ address }))));
    expect(outcomes.filter((outcome) => "atMs" in outcome)).toHaveLength(20);
    expect(outcomes.filter((outcome) => "of" in outcome && outcome.of === "address")).toHaveLength(30);
    test.clock.advance(MINUTES);
    await counted(newSubject({ address }));
    expect((await failuresOf(newSubject({ address }))).addressFailedAtMs).toHaveLength(1);
  });

  it("admits 90 failures in a row from strangers, even concurrent ones, and 10 more from a known network", async () => {
    const known = newSubject();
    await store.succeed(known, await counted(known));
    await failFromEverywhere(known, 60);
    const strangers = Array.from({ length: 60 }, () => ({ ...newSubject(), accounts: known.accounts }));
    const outcomes = await Promise.all(strangers.map((stranger) => store.count(stranger)));
    expect(outcomes.filter((outcome) => "atMs" in outcome)).toHaveLength(30);
    expect(await store.count({ ...newSubject(), accounts: known.accounts })).toEqual({
      retryAfterMs: 15 * MINUTES,
      of: "account",
    });
    for (let n = 0; n < 10; n++) {
      await counted({ ...known, address: newSubject().address });
      test.clock.advance(15 * MINUTES);
    }
    expect(await failuresOf(known)).toMatchObject({ ofAccount: 100 });
    const neighbour = { ...known, address: newSubject().address };
    expect(await store.count(neighbour)).toEqual({ retryAfterMs: 15 * MINUTES, of: "account" });
  });

  /** An account that strangers, and neighbours of the address that logged in, have closed. */
  async function closedAccount(): Promise<{ readonly home: LoginSubject; readonly away: LoginSubject }> {
    const home = newSubject();
    await store.succeed(home, await counted(home));
    await haveFailed(home, 90);
    for (let n = 0; n < 10; n++) {
      test.clock.advance(15 * MINUTES);
      await counted({ ...home, address: newSubject().address });
    }
    for (const address of [newSubject().address, newSubject().address]) {
      expect(await store.count({ ...home, address })).toMatchObject({ of: "account" });
    }
    return { home, away: { ...newSubject(), accounts: home.accounts } };
  }

  it("admits 10 more failures from the address that logged in to a closed account, without waits because of neighbours", async () => {
    const { home, away } = await closedAccount();
    let judged = 0;
    for (; judged < 20; judged++) {
      if ("of" in (await store.count(home))) break;
      test.clock.advance(15 * MINUTES);
    }
    expect(judged).toBe(10);
    // They are not forgotten after a day, unlike the waits of a network.
    test.clock.advance(2 * DAYS);
    expect(await store.count(home)).toEqual({ retryAfterMs: 15 * MINUTES, of: "account" });
    expect(await store.count(away)).toMatchObject({ of: "account" });
  });

  it("admits 10 more failures with a session of the owner from any network, counted for each session", async () => {
    const { away } = await closedAccount();
    const [phone, laptop] = [newId("ses"), newId("ses")];
    for (let n = 0; n < 10; n++) {
      await counted({ ...newSubject(), accounts: away.accounts, session: phone });
      test.clock.advance(15 * MINUTES);
    }
    expect(await store.count({ ...away, session: phone })).toEqual({ retryAfterMs: 15 * MINUTES, of: "account" });
    const good = { ...away, session: laptop };
    await store.succeed(good, await counted(good));
    expect(await failuresOf({ ...away, session: laptop })).toMatchObject({ ofAccount: 0, own: [{ failures: 0 }, {}] });
    expect((await failuresOf({ ...away, session: phone })).own).toMatchObject([{}, { failures: 10 }]);
    await store.clear({ accounts: away.accounts, userId: newId("usr"), by: OPERATOR });
    expect((await failuresOf({ ...away, session: phone })).own).toMatchObject([{}, { failures: 0 }]);
  });

  it("lets a good login reset the failures of its address, and of no other", async () => {
    const home = newSubject();
    await store.succeed(home, await counted(home));
    for (let n = 0; n < 3; n++) await counted(home);
    const office = { ...newSubject(), accounts: home.accounts };
    await store.succeed(office, await counted(office));
    expect((await failuresOf(home)).own).toMatchObject([{ failures: 3 }]);
    await store.succeed(home, await counted(home));
    expect((await failuresOf(home)).own).toMatchObject([{ failures: 0 }]);
  });

  it("admits 50 addresses of one network only up to its limit of hashes, with a quarter reserved for owners", async () => {
    const networks = [
      { name: `site ${randomBytes(8).toString("hex")}`, hashes: 12 },
      { name: `network ${randomBytes(8).toString("hex")}`, hashes: 24 },
    ];
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => store.count(newSubject({ networks }))));
    expect(outcomes.filter((outcome) => "atMs" in outcome)).toHaveLength(9);
    const [site, network] = networks as [CountedNetwork, CountedNetwork];
    const full = outcomes.filter((outcome) => "of" in outcome);
    const refused = { retryAfterMs: expect.any(Number), of: "network", network: site.name };
    expect(full).toEqual(Array(41).fill(refused));
    const elsewhere = () => newSubject({ networks: [{ ...site, name: newSubject().address }, network] });
    const others = await Promise.all(Array.from({ length: 20 }, () => store.count(elsewhere())));
    expect(others.filter((outcome) => "atMs" in outcome)).toHaveLength(9);
    expect(others.find((outcome) => "of" in outcome)).toMatchObject({ of: "network", network: network.name });
    expect(await store.count({ ...elsewhere(), isOwner: true })).toHaveProperty("atMs");
    expect(await store.countHash({ ...elsewhere(), isOwner: true })).toBeUndefined();
    expect(await store.countHash(elsewhere())).toMatchObject({ of: "network" });
    test.clock.advance(60_000);
    expect(await store.count(newSubject({ networks }))).toHaveProperty("atMs");
  });

  it("gives the reserved hashes of a full network to an owner", async () => {
    const home = newSubject({ networks: [{ name: `network ${randomBytes(8).toString("hex")}`, hashes: 8 }] });
    await store.succeed(home, await counted(home));
    for (let n = 0; n < 5; n++) await counted(newSubject({ networks: home.networks }));
    expect(await store.count(newSubject({ networks: home.networks }))).toMatchObject({ of: "network" });
    await counted(home);
    await counted({ ...newSubject({ networks: home.networks }), accounts: home.accounts, session: newId("ses") });
    expect(await store.count(home)).toMatchObject({ of: "network" });
  });

  it("counts an attempt without an account as a failure and a hash of its address, up to 20", async () => {
    const origin = newSubject({ isGuess: false });
    const waits = await Promise.all(Array.from({ length: 30 }, () => store.countMiss(origin)));
    expect(waits.filter((wait) => wait === undefined)).toHaveLength(20);
    const { addressFailedAtMs, addressHashedAtMs } = await failuresOf(origin);
    expect([addressFailedAtMs.length, addressHashedAtMs.length]).toEqual([20, 20]);
    expect(await store.count(origin)).toMatchObject({ of: "address" });
  });

  it("forgets an account's known network after 30 days", async () => {
    const known = newSubject();
    await store.succeed(known, await counted(known));
    await haveFailed(known, 90);
    test.clock.advance(30 * DAYS - MINUTES);
    await store.succeed(known, await counted(known));
    await haveFailed(known, 90);
    test.clock.advance(30 * DAYS);
    expect(await store.count(known)).toEqual({ retryAfterMs: 15 * MINUTES, of: "account" });
  });

  it("takes back the failure of a success and ends the run, also for the network", async () => {
    const subject = newSubject();
    for (let n = 0; n < 4; n++) await counted(subject);
    await store.succeed(subject, await counted(subject));
    const { addressFailedAtMs, addressHashedAtMs: _, networkLoggedInAtMs, ...others } = await failuresOf(subject);
    const own = [{ failures: 0, failedAtMs: undefined }];
    expect(others).toEqual({ ofAccount: 0, ofNetwork: 0, networkFailedAtMs: undefined, own, networkHashedAtMs: [] });
    expect(addressFailedAtMs).toHaveLength(4);
    expect(Math.abs(networkLoggedInAtMs! - test.clock.nowMs())).toBeLessThan(5 * SECONDS);
  });

  it("keeps later failures of others and the waits of other networks when an attempt succeeds", async () => {
    const subject = newSubject();
    for (let n = 0; n < 5; n++) await counted({ ...from(subject, "guesser"), address: "guesser" });
    const good = await counted(subject);
    for (let n = 0; n < 3; n++) await counted({ ...newSubject(), accounts: subject.accounts });
    await store.succeed(subject, good);
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: 3, ofNetwork: 0 });
    expect(await store.count({ ...from(subject, "guesser"), address: "guesser" })).toHaveProperty("retryAfterMs");
  });

  it("ends the run for a new account or a reset token, even if others fail meanwhile", async () => {
    const subject = newSubject({ isGuess: false });
    await failFromEverywhere(subject, 10);
    await store.succeed(subject, await counted(subject));
    expect(await failuresOf(subject)).toMatchObject({ ofAccount: 0, networkLoggedInAtMs: expect.any(Number) });
  });

  it("takes back one of two failures of the same millisecond", async () => {
    const subject = newSubject({ isGuess: false });
    const { atMs } = await counted(subject);
    const time = new Date(atMs).toISOString();
    await test.database.write(
      "update login_addresses set failed_at = array[?::timestamptz, ?::timestamptz, ?::timestamptz] where address = ?",
      [time, time, time, subject.address],
    );
    await store.succeed(subject, { atMs, ofAccount: 0 });
    expect((await failuresOf(subject)).addressFailedAtMs).toEqual([atMs, atMs]);
  });

  it("counts an account as one under any version of the master key, even concurrently", async () => {
    const [older, newer] = [randomBytes(32), randomBytes(32)];
    const alone = newSubject({ accounts: [older] });
    const known = { ...alone };
    await store.succeed(known, await counted(known));
    await failFromEverywhere(alone, 40);
    const both: LoginSubject["accounts"][] = [
      [older, newer],
      [newer, older],
    ];
    const outcomes = await Promise.all(
      Array.from({ length: 80 }, (_, n) => store.count(newSubject({ accounts: both[n % 2]! }))),
    );
    expect(outcomes.filter((outcome) => "atMs" in outcome)).toHaveLength(50);
    for (const accounts of both) {
      expect(await failuresOf(newSubject({ accounts }))).toMatchObject({ ofAccount: 90 });
    }
    const moved = { ...known, accounts: both[1]! };
    await store.succeed(moved, await counted(moved));
    for (const accounts of both) {
      expect(await failuresOf({ ...known, accounts })).toMatchObject({ ofAccount: 0, ofNetwork: 0 });
    }
    await failFromEverywhere(moved, 90);
    await counted({ ...moved, accounts: [newer] });
  });

  it("clears all failures of an account, keeps its known networks, and records that once", async () => {
    const known = newSubject();
    await store.succeed(known, await counted(known));
    for (let n = 0; n < 5; n++) await counted(known);
    await haveFailed(known, 85);
    const userId = newId("usr");
    await store.clear({ accounts: known.accounts, userId, by: OPERATOR });
    await store.clear({ accounts: known.accounts, userId, by: OPERATOR });
    expect(await failuresOf(known)).toMatchObject({
      ofAccount: 0,
      ofNetwork: 0,
      networkLoggedInAtMs: expect.any(Number),
    });
    await counted({ ...newSubject(), accounts: known.accounts });
    const events = await test.database.read("select kind, actor_id, client_ip from audit_events where subject_id = ?", [
      userId,
    ]);
    expect(events).toMatchObject([
      { kind: "user.login_failures_cleared", actor_id: OPERATOR.id, client_ip: OPERATOR.clientIp },
    ]);
  });

  it("keeps the 50 networks and the 10 addresses of an account with the latest logins", async () => {
    const first = newSubject();
    await store.succeed(first, await counted(first));
    for (let n = 0; n < 50; n++) {
      test.clock.advance(1);
      const next = { ...newSubject(), accounts: first.accounts };
      await store.succeed(next, await counted(next));
    }
    expect((await failuresOf(first)).networkLoggedInAtMs).toBeUndefined();
    const [row] = await test.database.read(
      `select count(*)::int as count, count(*) filter (where network like 'address %')::int as addresses
       from login_networks where account_digest = decode(?, 'hex')`,
      [Buffer.from(first.accounts[0]).toString("hex")],
    );
    expect(row).toMatchObject({ count: 60, addresses: 10 });
  });
});

describe.each(DATABASE_KINDS)("pruning of LoginFailureStore on %s", (kind) => {
  const rows = async ({ database }: TestDatabase, table: string) =>
    (await database.read(`select count(*)::int as count from ${table}`, []))[0]?.count;

  it("deletes only rows that no decision uses", async () => {
    await using test = await openDatabase(kind);
    const store = new PostgresLoginFailureStore(test.database);
    const tried = newSubject();
    const known = newSubject();
    await store.count(tried);
    await store.succeed(known, (await store.count(known)) as CountedFailure);
    const find = async () => [(await store.find(tried)).failures, (await store.find(known)).failures];
    for (const [passMs, addresses, networks] of [
      [0, 2, 3],
      [61 * SECONDS, 0, 3],
      [DAYS, 0, 2],
      [30 * DAYS, 0, 0],
    ] as const) {
      test.clock.advance(passMs);
      const before = await find();
      await store.prune();
      expect(await rows(test, "login_addresses")).toBe(addresses);
      expect(await rows(test, "login_networks")).toBe(networks);
      expect(await rows(test, "login_accounts")).toBe(1);
      if (passMs <= DAYS) expect(await find()).toEqual(before);
    }
  });

  it("keeps at most the maximum of rows, and deletes the accounts with the fewest failures first", async () => {
    await using test = await openDatabase(kind);
    const store = new PostgresLoginFailureStore(test.database, 5);
    const known = newSubject();
    await store.succeed(known, (await store.count(known)) as CountedFailure);
    const guarded = newSubject();
    for (let n = 0; n < 3; n++) await store.count(guarded);
    for (let n = 0; n < 10; n++) {
      test.clock.advance(1);
      await store.count(newSubject());
    }
    await store.prune();
    expect(await rows(test, "login_accounts")).toBe(5);
    expect(await rows(test, "login_networks")).toBe(5);
    expect((await store.find(guarded)).failures.ofAccount).toBe(3);
    expect((await store.find(known)).failures.networkLoggedInAtMs).toBeDefined();
  });
});
