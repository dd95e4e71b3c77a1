import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LOGIN_LIMITS, type LoginFailures, waitOf } from "../../src/auth/throttle/login-limits.ts";

const NOW = 1_800_000_000_000;
const SECONDS = 1000;
const MINUTES = 60 * SECONDS;
const DAYS = 86_400_000;

const NONE: LoginFailures = {
  ofAccount: 0,
  ofNetwork: 0,
  networkFailedAtMs: undefined,
  networkLoggedInAtMs: undefined,
  own: [],
  addressFailedAtMs: [],
  addressHashedAtMs: [],
  networkHashedAtMs: [],
};

/** The failures of an account that all came from one network, the last one `agoMs` ago. */
const failed = (ofNetwork: number, agoMs = 0): LoginFailures => ({
  ...NONE,
  ofAccount: ofNetwork,
  ofNetwork,
  networkFailedAtMs: NOW - agoMs,
});

/** The wait of an attempt, with enough hashes. @param isGuess whether the account's failures count too */
const waitMs = (failures: LoginFailures, nowMs: number, isGuess: boolean) =>
  waitOf(failures, nowMs, { isGuess, addressHashes: 1000, networks: [] })?.retryAfterMs;
const guessWaitMs = (failures: LoginFailures, nowMs = NOW) => waitMs(failures, nowMs, true);
const addressWaitMs = (failures: LoginFailures, nowMs = NOW) => waitMs(failures, nowMs, false);

describe("an attempt from a network with failures in a row", () => {
  it.each([
    [0, undefined],
    [1, undefined],
    [4, undefined],
    [5, 1 * SECONDS],
    [6, 2 * SECONDS],
    [7, 4 * SECONDS],
    [10, 32 * SECONDS],
    [14, 512 * SECONDS],
    [15, 15 * MINUTES],
    [89, 15 * MINUTES],
  ])("after %i failures waits %s ms", (failures, waitMs) => {
    expect(guessWaitMs(failed(failures))).toBe(waitMs);
  });

  it.each([
    ["a moment before its end", 7, 3999, 1 * SECONDS],
    ["at its end", 7, 4000, undefined],
    ["in the middle, in whole seconds", 7, 1500, 3 * SECONDS],
    ["by a clock that stepped back an hour", 7, -60 * MINUTES, 4 * SECONDS],
  ])("is told the rest of its wait: %s", (_when, failures, agoMs, waitMs) => {
    expect(guessWaitMs(failed(failures, agoMs))).toBe(waitMs);
  });
});

describe("an account with many failures in a row", () => {
  const closed = LOGIN_LIMITS.maxWaitMs;
  it.each<[string, number, number | undefined, number | undefined]>([
    ["admits an unknown network", 89, undefined, undefined],
    ["refuses an unknown network", 90, undefined, closed],
    ["admits a known network", 90, 1 * DAYS, undefined],
    ["admits a known network", 99, 30 * DAYS - 1, undefined],
    ["refuses a network whose login is too long ago", 90, 30 * DAYS, closed],
    ["refuses every network", 100, 1 * DAYS, closed],
    ["refuses every network", 101, 1 * DAYS, closed],
  ])("%s after %i failures, with a login %s ms ago", (_who, ofAccount, agoMs, waitMs) => {
    const networkLoggedInAtMs = agoMs === undefined ? undefined : NOW - agoMs;
    expect(guessWaitMs({ ...NONE, ofAccount, networkLoggedInAtMs })).toBe(waitMs);
  });
});

describe("the owner's own address or session", () => {
  const closed = LOGIN_LIMITS.maxWaitMs;
  /** Others have closed the account, from the owner's own network too. */
  const besieged = { ...failed(20), ofAccount: 100 };
  const own = (failures: number, failedAtMs: number | undefined = NOW) => ({ failures, failedAtMs });

  it.each<[failures: number, waitMs: number | undefined]>([
    [0, undefined],
    [4, undefined],
    [5, 1 * SECONDS],
    [9, 16 * SECONDS],
    [10, closed],
    [11, closed],
  ])("with %i failures of its own waits %s ms while the account is closed to others", (failures, waitMs) => {
    expect(guessWaitMs(besieged)).toBe(closed);
    expect(guessWaitMs({ ...besieged, own: [own(failures)] })).toBe(waitMs);
  });

  it("does not wait for the failures of its neighbours while the account is open", () => {
    expect(guessWaitMs(failed(7))).toBe(4 * SECONDS);
    expect(guessWaitMs({ ...failed(7), own: [own(0, undefined)] })).toBeUndefined();
  });

  it("waits no longer than any other caller, whatever its own failures", () => {
    expect(guessWaitMs({ ...NONE, own: [own(12)] })).toBeUndefined();
  });

  it("has the shorter wait of the two, if both are presented", () => {
    expect(guessWaitMs({ ...besieged, own: [own(10), own(5)] })).toBe(1 * SECONDS);
  });
});

describe("a network with many hashes in a minute", () => {
  const waitAt = (count: number, owner: { isOwner?: boolean; own?: LoginFailures["own"] } = {}) =>
    waitOf({ ...NONE, own: owner.own ?? [], networkHashedAtMs: [Array(count).fill(NOW)] }, NOW, {
      ...{ isGuess: true, isOwner: owner.isOwner ?? false, addressHashes: 1000 },
      networks: [{ name: "192.0.2.0/24", hashes: 120 }],
    });

  it("refuses strangers after three quarters of its hashes", () => {
    expect(waitAt(89)).toBeUndefined();
    expect(waitAt(90)).toEqual({ retryAfterMs: 60 * SECONDS, of: "network", network: "192.0.2.0/24" });
  });

  it.each<[who: string, owner: Parameters<typeof waitAt>[1]]>([
    ["the right password", { isOwner: true }],
    ["an address or a session of the owner", { own: [{ failures: 0, failedAtMs: undefined }] }],
  ])("admits an attempt with %s until all of its hashes are used", (_proof, owner) => {
    expect(waitAt(119, owner)).toBeUndefined();
    expect(waitAt(120, owner)).toMatchObject({ of: "network" });
  });
});

describe("an address with failures", () => {
  const times = (count: number, agoMs: number) => Array.from({ length: count }, () => NOW - agoMs);
  it.each<[string, number[], number | undefined]>([
    ["19 failures just now", times(19, 0), undefined],
    ["20 failures just now", times(20, 0), 60 * SECONDS],
    ["20 failures that are about to leave the window", times(20, 59_999), 1 * SECONDS],
    ["20 failures that have left the window", times(20, 60_000), undefined],
    [
      "21 failures, the oldest of which is about to leave the window",
      [...times(20, 0), ...times(1, 59_999)],
      60 * SECONDS,
    ],
    ["20 failures in any order", [NOW - 1000, ...times(18, 2000), NOW - 30_000], 30 * SECONDS],
    ["20 failures, and a clock that stepped back an hour", times(20, -60 * MINUTES), 60 * SECONDS],
  ])("waits until the oldest of the 20 newest has left the window: %s", (_what, addressFailedAtMs, waitMs) => {
    expect(addressWaitMs({ ...NONE, addressFailedAtMs })).toBe(waitMs);
    expect(guessWaitMs({ ...NONE, addressFailedAtMs })).toBe(waitMs);
  });

  it("has at most 20 attempts in any minute, at whatever times they come", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 8000 }), { maxLength: 200 }), (gaps) => {
        const admitted: number[] = [];
        let nowMs = NOW;
        for (const gapMs of gaps) {
          nowMs += gapMs;
          if (addressWaitMs({ ...NONE, addressFailedAtMs: admitted.slice(-20) }, nowMs) === undefined)
            admitted.push(nowMs);
        }
        for (const [index, atMs] of admitted.entries()) {
          const later = admitted[index + 20];
          if (later !== undefined) expect(later - atMs).toBeGreaterThanOrEqual(60_000);
        }
      }),
    );
  });
});

it("tells the longest of several waits", () => {
  const address = Array.from({ length: 20 }, () => NOW - 20_000);
  expect(guessWaitMs({ ...failed(5), addressFailedAtMs: address })).toBe(40 * SECONDS);
  expect(guessWaitMs({ ...failed(12), addressFailedAtMs: address })).toBe(128 * SECONDS);
  expect(guessWaitMs({ ...failed(12), ofAccount: 90, addressFailedAtMs: address })).toBe(15 * MINUTES);
});
