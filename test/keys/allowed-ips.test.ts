import { describe, expect, it } from "vitest";
import { compileNetworks, networkFault } from "../../src/keys/allowed-ips.ts";
import { normalizeIp } from "../../src/lib/ip.ts";

describe("an entry of an allow-list", () => {
  it.each(["192.0.2.0/24", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0", "10.0.0.0/8", "2001:db8::7/128"])(
    "%s is valid",
    (entry) => expect(networkFault(entry)).toBeUndefined(),
  );

  it.each([
    ["", "network"],
    ["192.0.2.0/33", "prefix"],
    ["0.0.0.0/33", "0 to 32 bits"],
    ["::/129", "0 to 128 bits"],
    ["192.0.2.0/-1", "prefix"],
    ["192.0.2.0/024", "prefix"],
    ["192.0.2.0/", "prefix"],
    ["192.0.2.1/24", "no bits set"],
    ["2001:db8::1/32", "no bits set"],
    ["192.0.2.0/24/24", "network"],
    ["fe80::1%eth0", "network"],
    ["fe80::%eth0/64", "network"],
    ["::ffff:192.0.2.0/120", "IPv4-mapped"],
    ["example.com", "network"],
    ["192.0.2", "network"],
    ["192.0.2.01", "network"],
  ])("%s is refused with a text that contains: %s", (entry, reason) => expect(networkFault(entry)).toContain(reason));
});

describe("judging an address", () => {
  it.each([
    ["192.0.2.255", true],
    ["192.0.3.0", false],
    ["::ffff:192.0.2.9", true],
    ["::FFFF:c000:0209", true],
    ["0:0:0:0:0:ffff:192.0.2.9", true],
    ["2001:db8:ffff::1", true],
    ["2001:db9::1", false],
    ["", false],
    ["192.0.2.9%eth0", false],
    ["192.0.2.9 ", false],
  ])("%s is in 192.0.2.0/24 or 2001:db8::/32: %s", (ip, isAllowed) => {
    expect(compileNetworks(["192.0.2.0/24", "2001:db8::/32"])(ip)).toBe(isAllowed);
  });

  it("does not find an IPv4 address in an IPv6 network that contains all mapped addresses", () => {
    expect(compileNetworks(["::/0"])("::ffff:192.0.2.9")).toBe(false);
  });

  it("writes a mapped address as IPv4, and leaves other addresses as they are", () => {
    expect(normalizeIp("::ffff:10.0.0.1")).toBe("10.0.0.1");
    expect(normalizeIp("::10.0.0.1")).toBe("::10.0.0.1");
    expect(normalizeIp("1::")).toBe("1::");
  });
});
