import { describe, expect, it } from "vitest";
import { clientIp, compileTrustedProxies } from "../../src/rpc/client-ip.ts";

const trusted = compileTrustedProxies(["10.0.0.0/8", "2001:db8:ffff::/48"]);

function ipOf(peerAddress: string, ...forwarded: readonly string[]): string {
  return clientIp({ peerAddress, header: () => [...forwarded] }, trusted);
}

describe("the client's address", () => {
  it("is the connection's other end, whatever a stranger says", () => {
    expect(ipOf("192.0.2.1")).toBe("192.0.2.1");
    expect(ipOf("192.0.2.1", "198.51.100.7")).toBe("192.0.2.1");
    expect(ipOf("2001:db8::1", "10.0.0.1")).toBe("2001:db8::1");
  });

  it.each([
    ["one proxy", "10.0.0.1", ["198.51.100.7"], "198.51.100.7"],
    ["a chain of them", "10.0.0.1", ["198.51.100.7, 10.0.0.3", "2001:db8:ffff::9"], "198.51.100.7"],
    ["one, and what a client invented before it", "10.0.0.1", ["203.0.113.9, 10.0.0.3, 198.51.100.7"], "198.51.100.7"],
    ["one, and a header of the client's own", "10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"],
    ["proxies alone", "10.0.0.1", ["10.0.0.2"], "10.0.0.2"],
    ["one that names nobody", "10.0.0.1", [], "10.0.0.1"],
    ["one that names what is no address", "10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"],
    ["one with an empty hop", "10.0.0.1", ["203.0.113.9, "], "10.0.0.1"],
    ["one of IPv6", "2001:db8:ffff::1", ["2001:db8::7"], "2001:db8::7"],
  ])("behind %s is the last hop that no proxy of ours is", (_what, peer, forwarded, address) => {
    expect(ipOf(peer, ...forwarded)).toBe(address);
  });

  it("is IPv4 where it is IPv4 in IPv6 clothing, of a proxy as of a client", () => {
    expect(ipOf("::ffff:192.0.2.1")).toBe("192.0.2.1");
    expect(ipOf("::FFFF:10.0.0.1", "::ffff:198.51.100.7")).toBe("198.51.100.7");
  });
});
