import { describe, expect, it } from "vitest";
import { parseEmail, parseNewEmail } from "../../src/auth/email.ts";

describe("parseEmail", () => {
  it.each([
    ["mike@example.com", "mike@example.com", "mike@example.com"],
    ["Mike@Example.COM", "Mike@Example.COM", "mike@example.com"],
    [
      "a.b+c_d!#$%&'*/=?^`{|}~-@example.com",
      "a.b+c_d!#$%&'*/=?^`{|}~-@example.com",
      "a.b+c_d!#$%&'*/=?^`{|}~-@example.com",
    ],
    ["mike@bücher.example", "mike@xn--bcher-kva.example", "mike@xn--bcher-kva.example"],
    ["mike@BÜCHER.example", "mike@xn--bcher-kva.example", "mike@xn--bcher-kva.example"],
    ["mike@xn--bcher-kva.example", "mike@xn--bcher-kva.example", "mike@xn--bcher-kva.example"],
    ["mike@example。com", "mike@example.com", "mike@example.com"],
    ["mıke@example.com", "mıke@example.com", "mıke@example.com"],
    ["MİKE@example.com", "MİKE@example.com", "mİke@example.com"],
    ["caf\u00e9@example.com", "caf\u00e9@example.com", "caf\u00e9@example.com"],
    ["Cafe\u0301@example.com", "Cafe\u0301@example.com", "caf\u00e9@example.com"],
    ["\u1112\u1161\u11ab@example.com", "\u1112\u1161\u11ab@example.com", "\ud55c@example.com"],
    // The Kelvin sign is canonically equivalent to K, so it is the same letter.
    ["\u212aate@example.com", "\u212aate@example.com", "kate@example.com"],
    ["straße@example.com", "straße@example.com", "straße@example.com"],
    ["mike@123.example", "mike@123.example", "mike@123.example"],
    ["m@a-b.c1", "m@a-b.c1", "m@a-b.c1"],
    [`${"a".repeat(64)}@example.com`, `${"a".repeat(64)}@example.com`, `${"a".repeat(64)}@example.com`],
  ])("reads %s as the address %s and the account %s", (text, address, normalized) => {
    expect(parseEmail(text)).toMatchObject({ address, normalized });
    expect(parseNewEmail(text)).toEqual(parseEmail(text));
    expect(parseEmail(normalized)?.normalized).toBe(normalized);
  });

  it("accepts an address of 254 bytes and refuses one of 255", () => {
    const label = "d".repeat(60);
    const domain = `${label}.${label}.${label}.com`;
    const longest = `${"a".repeat(254 - domain.length - 1 - 4)}@xyz.${domain}`;
    expect(Buffer.byteLength(longest)).toBe(254);
    expect(parseEmail(longest)?.address).toBe(longest);
    expect(parseEmail(`a${longest}`)).toBeUndefined();
  });
});

describe("the normalized form", () => {
  it.each([
    ["mike@example.com", "mıke@example.com"],
    ["mike@example.com", "mİke@example.com"],
    ["strasse@example.com", "straße@example.com"],
    ["mike@example.com", "mike@exarnple.com"],
    ["mike+a@example.com", "mike@example.com"],
    ["m.ike@example.com", "mike@example.com"],
    ["caf\u00e9@example.com", "cafe@example.com"],
    ["\ufb01ne@example.com", "fine@example.com"],
    ["\uff4dike@example.com", "mike@example.com"],
  ])("differs for %s and %s", (one, other) => {
    expect(parseEmail(one)?.normalized).toBeDefined();
    expect(parseEmail(one)?.normalized).not.toBe(parseEmail(other)?.normalized);
  });
});

describe("parseNewEmail", () => {
  it.each([
    ["a variation selector", "mike\ufe0f@example.com"],
    ["a variation selector beyond the basic plane", "mike\u{e0100}@example.com"],
    ["a Mongolian variation selector", "mike\u180b@example.com"],
    ["a joiner of graphemes", "mi\u034fke@example.com"],
    ["a filler of Hangul", "mike\u3164@example.com"],
    ["half a filler", "mike\uffa0@example.com"],
    ["a blank of Braille", "mike\u2800@example.com"],
    ["a code point that is no character", "mike\u{1fffe}@example.com"],
    ["a character that becomes a semicolon in NFC", "mi\u037eke@example.com"],
  ])("refuses an address with an invisible character: %s", (_what, text) => {
    expect(parseNewEmail(text)).toBeUndefined();
    // Accounts from before this rule can still log in.
    expect(parseEmail(text)).toMatchObject({ address: text, typed: text });
  });

  it.each([
    ...["mi\u00adke@example.com", "mi\u200cke@example.com", "mi\u200dke@example.com", "mi\u2066ke@example.com"],
    ...["mi\u2060ke@example.com", "mi\ufeffke@example.com", "mike\u{e0041}@example.com", "mi\u202ake@example.com"],
  ])("refuses %j, as parseEmail does", (text) => {
    expect([parseEmail(text), parseNewEmail(text)]).toEqual([undefined, undefined]);
  });
});

describe("a text that is no e-mail address", () => {
  it.each([
    "",
    "mike",
    "@",
    "mike@",
    "@example.com",
    "a@b@example.com",
    "mike@@example.com",
    " mike@example.com",
    "mike@example.com ",
    "mi ke@example.com",
    "mike@exam ple.com",
    "mike@example.com\n",
    "mike@example.com\r\nBcc: all@example.com",
    "mi\0ke@example.com",
    "mi\u200bke@example.com",
    "mi\u00a0ke@example.com",
    "mi\u2028ke@example.com",
    "mi\ud800ke@example.com",
    "mi\u202eke@example.com",
    ".mike@example.com",
    "mike.@example.com",
    "mi..ke@example.com",
    '"mi ke"@example.com',
    '"mike"@example.com',
    "mike(comment)@example.com",
    "<mike@example.com>",
    "mike,john@example.com",
    "mike@example..com",
    "mike@.example.com",
    "mike@example.com.",
    "mike@-example.com",
    "mike@example-.com",
    "mike@exa_mple.com",
    "mike@ex%61mple.com",
    "mike@example.com:25",
    "mike@example.com/path",
    "mike@[192.0.2.1]",
    "mike@[IPv6:2001:db8::1]",
    "mike@192.0.2.1",
    "mike@0x7f.1",
    "mike@localhost",
    "mike\uff20example.com",
    `${"a".repeat(65)}@example.com`,
    `mike@${"a".repeat(64)}.com`,
    `mike@${"ü".repeat(120)}.example`,
    `${"ü".repeat(33)}@example.com`,
  ])("is refused: %j", (text) => {
    expect(parseEmail(text)).toBeUndefined();
  });

  it("is refused if it has 100,000 characters", () => {
    expect(parseEmail(`${"a".repeat(100_000)}@example.com`)).toBeUndefined();
    expect(parseEmail("a@".repeat(50_000))).toBeUndefined();
    expect(parseEmail(`a${"\u0301".repeat(100_000)}@example.com`)).toBeUndefined();
  });
});
