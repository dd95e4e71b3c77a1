import { describe, expect, it } from "vitest";
import { isCommonPassword, PASSWORD_BLOCKLIST } from "../../src/auth/passwords/password-blocklist.ts";
import {
  normalizePassword,
  passwordFormViolation,
  passwordViolation,
} from "../../src/auth/passwords/password-rules.ts";
import { codePoints } from "../../src/lib/text.ts";

const RULES = { minCodePoints: 15 };

function reasonOf(password: string, email = "mike@example.com"): string | undefined {
  return passwordViolation(RULES, { field: "password", password, email })?.reason;
}

describe("a new password", () => {
  it.each([
    ["empty", "", "PASSWORD_TOO_SHORT"],
    ["14 code points", "kf93 dlw-29xk!", "PASSWORD_TOO_SHORT"],
    ["14 code points of two UTF-16 units", "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧🐦🐤", "PASSWORD_TOO_SHORT"],
    ["15 code points in NFD, 14 in NFC", "kf93 dlw-29xke\u0301".slice(1), "PASSWORD_TOO_SHORT"],
    ["257 code points", "kf93 dlw-29xk! ".repeat(18).slice(0, 257), "PASSWORD_TOO_LONG"],
    ["256 code points of more than 1,024 bytes", `${"🦊".repeat(255)}👨‍👩‍👧`.slice(0, 2000), "PASSWORD_TOO_LONG"],
    ["a megabyte", "x".repeat(1_000_000), "PASSWORD_TOO_LONG"],
    ["a NUL", "kf93 dlw\0-29xk! s", "PASSWORD_MALFORMED"],
    ["a line break", "kf93 dlw\n-29xk! s", "PASSWORD_MALFORMED"],
    ["a lone surrogate", "kf93 dlw\ud800-29xk! s", "PASSWORD_MALFORMED"],
    ["31 combining marks in a row", `kf93 dlw-29xke${"\u0301".repeat(31)}`, "PASSWORD_MALFORMED"],
    ["a word twice", "passwordpassword", "PASSWORD_COMMON"],
    ["a word twice with separators, case and a year", "Password-Password 2024!", "PASSWORD_COMMON"],
    ["a walk over the keyboard", "1qaz2wsx3edc4rfv", "PASSWORD_COMMON"],
    ["a walk back", "vfr4cde3xsw2zaq1", "PASSWORD_COMMON"],
    ["one character", "aaaaaaaaaaaaaaa", "PASSWORD_COMMON"],
    ["one space", " ".repeat(15), "PASSWORD_COMMON"],
    ["one separator", "-".repeat(20), "PASSWORD_COMMON"],
    ["two separators", "- ".repeat(10), "PASSWORD_COMMON"],
    ["one character that no keyboard row has", "é".repeat(15), "PASSWORD_COMMON"],
    ["one character of two UTF-16 units", "🦊".repeat(15), "PASSWORD_COMMON"],
    ["one character with separators and a year", `${"ß ".repeat(12)}2024!`, "PASSWORD_COMMON"],
    ["a run of digits", "123456789012345", "PASSWORD_COMMON"],
    ["the alphabet", "abcdefghijklmnop", "PASSWORD_COMMON"],
    ["a phrase", "This is my password", "PASSWORD_COMMON"],
    ["the product's name", "latchkey-latchkey", "PASSWORD_COMMON"],
    ["the e-mail address", "mike@example.com", "PASSWORD_IS_EMAIL"],
    ["the e-mail address in another case", "MIKE@EXAMPLE.COM", "PASSWORD_IS_EMAIL"],
  ])("is refused with its reason: %s", (_what, password, reason) => {
    expect(reasonOf(password)).toBe(reason);
  });

  it.each([
    ["15 code points", "kf93 dlw-29xk!s"],
    ["15 code points, each of four bytes", "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧🐦🐤🦆"],
    ["256 code points", "kf93 dlw-29xk! ".repeat(18).slice(0, 256)],
    ["30 combining marks in a row", `kf93 dlw-29xke${"\u0301".repeat(30)}`],
    ["256 code points of 1,024 bytes", "🦊🐻🐼🐨".repeat(64)],
    ["four words", "ochre lantern waltz paper"],
    ["only lower-case letters", "ochrelanternwaltzpaper"],
    ["spaces at both ends", " kf93 dlw-29xk "],
    ["three separators and two letters", " -. k -. f -. k"],
  ])("is accepted: %s", (_what, password) => {
    expect(reasonOf(password)).toBeUndefined();
  });

  it("may be shorter if the rules allow it, but must not be a common one", () => {
    const rules = { minCodePoints: 8 };
    const judge = (password: string) => passwordViolation(rules, { field: "p", password, email: "" })?.reason;
    expect(judge("kf93dlw2")).toBeUndefined();
    expect(judge("k48391748")).toBeUndefined();
    expect(judge("kf93dlw")).toBe("PASSWORD_TOO_SHORT");
    expect(judge("password1")).toBe("PASSWORD_COMMON");
  });
});

describe("the blocklist", () => {
  it("has at least 3,000 entries of 15 code points or more", () => {
    const long = [...PASSWORD_BLOCKLIST].filter((entry) => codePoints(entry) >= 15);
    expect(long.length).toBeGreaterThanOrEqual(3000);
    expect(long.every(isCommonPassword)).toBe(true);
  });

  it("allows a password that only contains a common one", () => {
    expect(isCommonPassword("my password rhymes with ochre")).toBe(false);
    expect(isCommonPassword("password8391748201937450912")).toBe(false);
  });
});

it("refuses a tried password of more than 1,024 bytes before it is hashed, and none of up to 1,024", () => {
  expect(passwordFormViolation("p", "é".repeat(512))).toBeUndefined();
  expect(passwordFormViolation("p", "e\u0301".repeat(512))).toBeUndefined();
  expect(passwordFormViolation("p", `${"é".repeat(512)}x`)?.reason).toBe("PASSWORD_TOO_LONG");
  expect(passwordFormViolation("p", "x".repeat(100_000))?.reason).toBe("PASSWORD_TOO_LONG");
});

it("treats the NFD and the NFC of a password as one password", () => {
  expect(normalizePassword("cafe\u0301 noir et tarte")).toBe(normalizePassword("caf\u00e9 noir et tarte"));
});
