import { isIPv4, isIPv6 } from "node:net";

/**
 * The network that an address is in, in one spelling; a text that is no address is returned as it is. IPv4 in IPv6 form
 * (RFC 4291, 2.5.5.2) is IPv4, and a zone (RFC 4007) is ignored.
 *
 * @param ipv4Bits length of the prefix of IPv4, a multiple of 8; 32 returns the address
 * @param ipv6Bits length of the prefix of IPv6, a multiple of 8
 */
export function prefixOf(ip: string, ipv4Bits: number, ipv6Bits: number): string {
  if (isIPv4(ip)) return ipv4Prefix(ip.split(".").map(Number), ipv4Bits);
  if (!isIPv6(ip)) return ip;
  const groups = groupsOf(ip);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return ipv4Prefix(
      groups.slice(6).flatMap((group) => [group >> 8, group & 255]),
      ipv4Bits,
    );
  }
  const kept = groups.slice(0, Math.ceil(ipv6Bits / 16));
  if (ipv6Bits % 16 !== 0) kept.push(kept.pop()! & 0xff00);
  return `${kept.map((group) => group.toString(16)).join(":")}::/${ipv6Bits}`;
}

function ipv4Prefix(bytes: readonly number[], bits: number): string {
  if (bits === 32) return bytes.join(".");
  return `${bytes.map((byte, index) => (index < bits / 8 ? byte : 0)).join(".")}/${bits}`;
}

/** The eight groups of a valid IPv6 address. The URL parser writes each address in one form. */
function groupsOf(ip: string): number[] {
  const host = new URL(`http://[${ip.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const [head = "", tail] = host.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = Array<string>(8 - front.length - back.length).fill("0");
  return [...front, ...middle, ...back].map((group) => Number.parseInt(group, 16));
}
