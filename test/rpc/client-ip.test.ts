import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClientAddresses, type ClientAddressesDeps } from "../../src/rpc/calls/client-ip.ts";
import { quickestMs } from "../support/quickest.ts";
import { recordingLog } from "../support/recording-log.ts";

const TRUSTED = ["10.0.0.0/8", "2001:db8:ffff::/48"];
const PROXY = "10.0.0.1";

type Headers = Readonly<Record<string, readonly string[]>>;

function addresses(deps: Partial<ClientAddressesDeps> = {}) {
  const log = recordingLog();
  const client = new ClientAddresses({ trustedProxies: TRUSTED, forwardedHeader: undefined, log, ...deps });
  const of = (peerAddress: string, headers: Headers) =>
    client.of({ peerAddress, header: (name) => headers[name] ?? [] });
  const warnings = () =>
    log.lines.map(({ message, fields: { headers, advice } }) => `${headers}: ${message}; ${advice}`);
  return { of, warnings };
}

function ipOf(peerAddress: string, ...forwarded: readonly string[]): string {
  return addresses().of(peerAddress, { "x-forwarded-for": forwarded });
}

function forwardedIpOf(...forwarded: readonly string[]): string {
  return addresses().of(PROXY, { forwarded });
}

describe("the client's address", () => {
  it("is the connection's other end, whatever an untrusted peer claims", () => {
    expect(ipOf("192.0.2.1")).toBe("192.0.2.1");
    expect(ipOf("192.0.2.1", "198.51.100.7")).toBe("192.0.2.1");
    expect(ipOf("2001:db8::1", "10.0.0.1")).toBe("2001:db8::1");
    expect(ipOf("fe80::1%eth0", "10.0.0.1")).toBe("fe80::1");
    expect(ipOf("", "10.0.0.1")).toBe("");
  });

  it.each([
    ["one proxy", "10.0.0.1", ["198.51.100.7"], "198.51.100.7"],
    ["a chain of proxies", "10.0.0.1", ["198.51.100.7, 10.0.0.3", "2001:db8:ffff::9"], "198.51.100.7"],
    ["a proxy that appends to an invented hop", "10.0.0.1", ["203.0.113.9, 10.0.0.3, 198.51.100.7"], "198.51.100.7"],
    ["a proxy that adds a second header line", "10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"],
    ["proxies only", "10.0.0.1", ["10.0.0.2"], "10.0.0.2"],
    ["a proxy that names no client", "10.0.0.1", [], "10.0.0.1"],
    ["a proxy that names no address", "10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"],
    ["a proxy with an empty hop", "10.0.0.1", ["203.0.113.9, "], "10.0.0.1"],
    ["a proxy of IPv6", "2001:db8:ffff::1", ["2001:db8::7"], "2001:db8::7"],
    ["a proxy that names a port", "10.0.0.1", ["203.0.113.9, 198.51.100.7:5678"], "198.51.100.7"],
    ["a proxy that names a port of IPv6", "10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"],
    ["a proxy that writes brackets", "10.0.0.1", ["[2001:DB8:0:0::7]"], "2001:db8::7"],
    ["a proxy that writes quotes", "10.0.0.1", ['"[2001:db8::7]:443"'], "2001:db8::7"],
    ["a proxy that maps IPv4", "10.0.0.1", ["[::ffff:c633:6407]:80"], "198.51.100.7"],
    ["a chain with ports", "10.0.0.1", ["198.51.100.7:1, 10.0.0.3:2, [2001:db8:ffff::9]:3"], "198.51.100.7"],
    ["a proxy with brackets of IPv4", "10.0.0.1", ["203.0.113.9, [198.51.100.7]"], "10.0.0.1"],
    ["a proxy with an empty port", "10.0.0.1", ["203.0.113.9, 198.51.100.7:"], "10.0.0.1"],
    ["a proxy with a word as its port", "10.0.0.1", ["203.0.113.9, 198.51.100.7:http"], "10.0.0.1"],
    ["a proxy with a zone", "10.0.0.1", ["203.0.113.9, fe80::1%eth0"], "10.0.0.1"],
    ["a proxy with octal digits", "10.0.0.1", ["203.0.113.9, 0198.051.100.7"], "10.0.0.1"],
    ["a proxy with too few numbers", "10.0.0.1", ["203.0.113.9, 198.51.7"], "10.0.0.1"],
    ["a proxy with half a bracket", "10.0.0.1", ["203.0.113.9, [2001:db8::7"], "10.0.0.1"],
  ])("is the last hop that is not a trusted proxy, behind %s", (_what, peer, forwarded, address) => {
    expect(ipOf(peer, ...forwarded)).toBe(address);
  });

  it.each([
    ["for=198.51.100.7", "198.51.100.7"],
    ["For=198.51.100.7;Proto=https;By=10.0.0.1", "198.51.100.7"],
    ['proto=https ; FOR="198.51.100.7:5678"', "198.51.100.7"],
    ['for="[2001:db8::7]:443"', "2001:db8::7"],
    ['for="[2001:DB8::7]"', "2001:db8::7"],
    ["for=[2001:db8::7]:443", "2001:db8::7"],
    ['for="198.51.100.7:_hidden"', "198.51.100.7"],
    ['for="198.51.100.\\7"', "198.51.100.7"],
    ['for=203.0.113.9, for=198.51.100.7;host="a,b;for=1.2.3.4"', "198.51.100.7"],
    ["for=198.51.100.7, for=10.0.0.3;by=10.0.0.1", "198.51.100.7"],
    ["for=198.51.100.7;", "198.51.100.7"],
    ["for=203.0.113.9, for=unknown", PROXY],
    ["for=203.0.113.9, for=_secret", PROXY],
    ["for=203.0.113.9, for=_198.51.100.7", PROXY],
    ["for=203.0.113.9, proto=https", PROXY],
    ["for=203.0.113.9, for=198.51.100.7;for=198.51.100.8", PROXY],
    ["for=203.0.113.9, for = 198.51.100.7", PROXY],
    ['for=203.0.113.9, for="198.51.100.7', PROXY],
    ["for=203.0.113.9, 198.51.100.7", PROXY],
    ["for=203.0.113.9,", PROXY],
    ["", PROXY],
    ['for="203.0.113.9, for=198.51.100.7', "198.51.100.7"],
    ['for=203.0.113.9;by=", for="[2001:db8::7]:443"', "2001:db8::7"],
    ['for=203.0.113.9;by="\\, for="[2001:db8::7]:443"', "2001:db8::7"],
  ])("is read from `Forwarded: %s`", (value, address) => {
    expect(forwardedIpOf(value)).toBe(address);
  });

  it("is the same from several lines of Forwarded as from one line", () => {
    expect(forwardedIpOf("for=203.0.113.9", 'for="198.51.100.7:1"', "for=10.0.0.3")).toBe("198.51.100.7");
    expect(forwardedIpOf('for="203.0.113.9', "for=198.51.100.7")).toBe("198.51.100.7");
  });

  it.each([
    ["blanks before a letter", `for=1.1.1.1;${" ".repeat(15_000)}x`],
    ["blanks and semicolons", `for=1.1.1.1${" ;".repeat(7500)}x`],
    ["an open quote with escapes", `for="${"\\\\".repeat(7500)}x`],
    ["escapes before each quote", `${'\\\\\\"'.repeat(3000)}`],
    ["names without values", `for=1.1.1.1;${"a".repeat(15_000)}`],
    ["commas in an open quote", `"${",".repeat(15_000)}`],
  ])("is read in time linear in the length of Forwarded, even from %s", (_what, slow) => {
    const plainMs = quickestMs(() => forwardedIpOf(Array(1000).fill("for=1.2.3.4").join(", ")));
    // Measured: at most twice as long. A quadratic reading took thousands of times as long.
    expect(quickestMs(() => forwardedIpOf(slow))).toBeLessThan(100 * plainMs);
  });

  it("is IPv4 for an IPv4-mapped IPv6 address, of a proxy and of a client", () => {
    expect(ipOf("::ffff:192.0.2.1")).toBe("192.0.2.1");
    expect(ipOf("::FFFF:10.0.0.1", "::ffff:198.51.100.7")).toBe("198.51.100.7");
  });

  it("is an IPv4 peer's own, even if a trusted IPv6 network includes the mapped addresses", () => {
    const { of } = addresses({ trustedProxies: ["::/64"] });
    expect(of("192.0.2.1", { "x-forwarded-for": ["198.51.100.7"] })).toBe("192.0.2.1");
  });
});

describe("two forwarding headers in one call", () => {
  const both = { "x-forwarded-for": ["198.51.100.7:80"], forwarded: ["for=198.51.100.7"] };
  const lie = { "x-forwarded-for": ["198.51.100.7"], forwarded: ["for=203.0.113.9"] };

  it("are believed if they agree", () => {
    const { of, warnings } = addresses();
    expect(of(PROXY, both)).toBe("198.51.100.7");
    expect(warnings()).toEqual([]);
  });

  it("are both ignored if they disagree, and the log says once what to set", () => {
    const { of, warnings } = addresses();
    expect([of(PROXY, lie), of(PROXY, lie)]).toEqual([PROXY, PROXY]);
    expect(warnings().join()).toMatch(/^x-forwarded-for forwarded: [^,]*disagree[^,]*LATCHKEY_FORWARDED_HEADER[^,]*$/);
  });

  it("are reduced to the configured one, and the other is not read", () => {
    for (const [forwardedHeader, address] of [
      ["x-forwarded-for", "198.51.100.7"],
      ["forwarded", "203.0.113.9"],
    ] as const) {
      const { of, warnings } = addresses({ forwardedHeader });
      expect(of(PROXY, lie)).toBe(address);
      expect(of(PROXY, { [forwardedHeader === "forwarded" ? "x-forwarded-for" : "forwarded"]: ["for=1.2.3.4"] })).toBe(
        PROXY,
      );
      expect(warnings()).toEqual([]);
    }
  });
});

describe("an untrusted peer that names other addresses", () => {
  it("is reported once for each header, with the setting to use", () => {
    const { of, warnings } = addresses();
    for (let n = 0; n < 3; n++) {
      expect(of("192.0.2.1", { "x-forwarded-for": ["198.51.100.7"] })).toBe("192.0.2.1");
      expect(of("192.0.2.2", { forwarded: ["for=198.51.100.7"] })).toBe("192.0.2.2");
      expect(of("192.0.2.3", {})).toBe("192.0.2.3");
    }
    expect(warnings()).toHaveLength(2);
    expect(warnings()[0]).toMatch(/^x-forwarded-for: .*untrusted peer is ignored.*LATCHKEY_TRUSTED_PROXIES/);
    expect(warnings()[1]).toMatch(/^forwarded: .*untrusted peer/);
  });

  it("fills at most 8 log lines, even if there are many such peers", () => {
    const { of, warnings } = addresses();
    for (let n = 0; n < 200; n++) of(`192.0.2.${n}`, { "x-forwarded-for": ["198.51.100.7"] });
    expect(warnings()).toHaveLength(8);
  });
});

const octet = fc.nat(255);
const ipv4 = fc.tuple(fc.constantFrom(198, 203, 8), octet, octet, octet).map((parts) => parts.join("."));
const ipv6 = fc
  .tuple(fc.integer({ min: 1, max: 0xffff }), octet)
  .map(([a, b]) => `2a00:${a.toString(16)}::${(b + 1).toString(16)}`);
const port = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined });
const proxy = fc.constantFrom("10.0.0.3", "10.9.8.7", "2001:db8:ffff::9");

function nodeOf(address: string, at: number | undefined): string {
  const host = address.includes(":") ? `[${address}]` : address;
  return at === undefined ? host : `${host}:${at}`;
}

/** A text that a client may send ahead of the proxies: anything that a header can contain. */
const invention = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'for=by";,\\[]:. 1203_'), maxLength: 30 }),
  fc.constantFrom("for=203.0.113.1", "203.0.113.1", 'for="', '"', "for=203.0.113.1;", "\\", ""),
);

describe("the client's address behind proxies", () => {
  it.each(["x-forwarded-for", "forwarded"] as const)(
    "is the last hop of %s before the proxies, whatever the client sends ahead of it",
    (header) => {
      const spell = (address: string, at: number | undefined) =>
        header === "forwarded" ? `for="${nodeOf(address, at)}";proto=https` : nodeOf(address, at);
      const chain = fc.array(fc.tuple(proxy, port), { maxLength: 3 });
      fc.assert(
        fc.property(
          invention,
          fc.oneof(ipv4, ipv6),
          port,
          chain,
          fc.boolean(),
          (ahead, client, at, proxies, isOneLine) => {
            const hops = [spell(client, at), ...proxies.map(([each, its]) => spell(each, its))];
            const lines = isOneLine ? [[ahead, ...hops].join(", ")] : [ahead, ...hops];
            expect(addresses().of(PROXY, { [header]: lines })).toBe(client);
          },
        ),
        { numRuns: 3000 },
      );
    },
  );
});
