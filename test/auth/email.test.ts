import { describe, expect, it } from "vitest";
import { parseEmail } from "../../src/auth/email.ts";

describe("an e-mail address is read as", () => {
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
    ["\u212aate@example.com", "\u212aate@example.com", "\u212aate@example.com"],
    ["straße@example.com", "straße@example.com", "straße@example.com"],
    ["mike@123.example", "mike@123.example", "mike@123.example"],
    ["m@a-b.c1", "m@a-b.c1", "m@a-b.c1"],
    [`${"a".repeat(64)}@example.com`, `${"a".repeat(64)}@example.com`, `${"a".repeat(64)}@example.com`],
  ])("%s", (text, address, normalized) => {
    expect(parseEmail(text)).toEqual({ address, normalized });
  });

  it("an address of 254 bytes, and none of 255", () => {
    const label = "d".repeat(60);
    const domain = `${label}.${label}.${label}.com`;
    const longest = `${"a".repeat(254 - domain.length - 1 - 4)}@xyz.${domain}`;
    expect(Buffer.byteLength(longest)).toBe(254);
    expect(parseEmail(longest)?.address).toBe(longest);
    expect(parseEmail(`a${longest}`)).toBeUndefined();
  });
});

describe("no two people's addresses are one:", () => {
  it.each([
    ["mike@example.com", "mıke@example.com"],
    ["mike@example.com", "mİke@example.com"],
    ["kate@example.com", "\u212aate@example.com"],
    ["strasse@example.com", "straße@example.com"],
    ["mike@example.com", "mike@exarnple.com"],
    ["mike+a@example.com", "mike@example.com"],
    ["m.ike@example.com", "mike@example.com"],
    ["caf\u00e9@example.com", "cafe\u0301@example.com"],
  ])("%s and %s", (one, other) => {
    expect(parseEmail(one)?.normalized).toBeDefined();
    expect(parseEmail(one)?.normalized).not.toBe(parseEmail(other)?.normalized);
  });
});

describe("no e-mail address is", () => {
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
  ])("%j", (text) => {
    expect(parseEmail(text)).toBeUndefined();
  });

  it("100,000 characters, whatever they are", () => {
    expect(parseEmail(`${"a".repeat(100_000)}@example.com`)).toBeUndefined();
    expect(parseEmail("a@".repeat(50_000))).toBeUndefined();
  });
});
