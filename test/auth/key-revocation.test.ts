import { describe, expect, it } from "vitest";
import { type AccountHistory, decideRevocation, type RevocationDecider } from "../../src/auth/key-revocation.ts";

const NEVER_USED: AccountHistory = { hadPassword: true, hasKnownLogin: false };
const NEVER_HELD: AccountHistory = { hadPassword: false, hasKnownLogin: false };
const IN_USE: AccountHistory = { hadPassword: true, hasKnownLogin: true };

describe("the decision whether a password reset revokes keys", () => {
  it.each<[operator: boolean | undefined, person: boolean | undefined, revokes: boolean, decider: RevocationDecider]>([
    [true, undefined, true, "operator"],
    [true, true, true, "operator"],
    [true, false, true, "operator"],
    [false, undefined, false, "operator"],
    [false, false, false, "operator"],
    [false, true, true, "person"],
    [undefined, true, true, "person"],
    [undefined, false, false, "person"],
  ])(
    "for the wishes operator %s and person %s is %s, by the %s, for any account",
    (operator, person, revokes, decider) => {
      for (const account of [NEVER_USED, NEVER_HELD, IN_USE]) {
        expect(decideRevocation(operator, person, account)).toEqual({ revokes, decider });
      }
    },
  );

  it.each<[account: string, history: AccountHistory, revokes: boolean]>([
    ["had a password and no login from a known network", NEVER_USED, true],
    ["never had a password", NEVER_HELD, false],
    ["had a login from a known network", IN_USE, false],
  ])("follows from the account if no one decided: one that %s", (_account, history, revokes) => {
    expect(decideRevocation(undefined, undefined, history)).toEqual({ revokes, decider: "rule" });
  });
});
