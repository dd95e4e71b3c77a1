import { BlockList, isIPv4, isIPv6 } from "node:net";
import type { CallHead } from "./call.ts";

/** A set of networks, ready for asking. @param networks CIDR */
export function compileTrustedProxies(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [base = "", bits = ""] = network.split("/");
    list.addSubnet(base, Number(bits), isIPv4(base) ? "ipv4" : "ipv6");
  }
  return list;
}

/**
 * The client's address: the connection's other end, or, as long as that is a trusted proxy, the hop before it by
 * `x-forwarded-for`, read from the right. What stands left of the first hop that is not trusted is anybody's invention.
 */
export function clientIp(head: Pick<CallHead, "header" | "peerAddress">, trusted: BlockList): string {
  let address = plain(head.peerAddress);
  if (!isTrusted(trusted, address)) return address;
  const hops = head.header("x-forwarded-for").join(",").split(",");
  for (const hop of hops.reverse()) {
    const candidate = plain(hop.trim());
    if (!isIPv4(candidate) && !isIPv6(candidate)) return address;
    address = candidate;
    if (!isTrusted(trusted, address)) return address;
  }
  return address;
}

function isTrusted(trusted: BlockList, address: string): boolean {
  return (isIPv4(address) && trusted.check(address, "ipv4")) || (isIPv6(address) && trusted.check(address, "ipv6"));
}

/** IPv4 in IPv6 clothing, as a dual-stack socket reports it, is IPv4. */
function plain(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address;
}
