import { isIPv4, isIPv6 } from "node:net";

/**
 * Whose address it is, for the limit per address: an IPv4 address is one, and so is an IPv6 /64, since whoever has one
 * address of it has all 2^64 (RFC 4291, 2.5.4). What is no address at all stands for itself.
 */
export function addressOf(ip: string): string {
  return prefixOf(ip, 32, 64);
}

/**
 * From which network a login comes: /24 of IPv4, /48 of IPv6. These are the smallest that are routed on their own
 * between providers, so that one network is about one site or one provider's street. Smaller would lock people out whose
 * provider gives them another address each day, and let who has a /48 (65,536 /64s, for the asking) be as many
 * strangers; larger would let strangers in as neighbours.
 */
export function networkOf(ip: string): string {
  return prefixOf(ip, 24, 48);
}

/** @param ipv4Bits a multiple of 8, @param ipv6Bits a multiple of 16 */
function prefixOf(ip: string, ipv4Bits: number, ipv6Bits: number): string {
  if (isIPv4(ip)) return ipv4Prefix(ip.split(".").map(Number), ipv4Bits);
  if (!isIPv6(ip)) return ip;
  const groups = groupsOf(ip);
  // IPv4 in IPv6 clothing (RFC 4291, 2.5.5.2) is IPv4, however it is written.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return ipv4Prefix(
      groups.slice(6).flatMap((group) => [group >> 8, group & 255]),
      ipv4Bits,
    );
  }
  const kept = groups.slice(0, ipv6Bits / 16).map((group) => group.toString(16));
  return `${kept.join(":")}::/${ipv6Bits}`;
}

function ipv4Prefix(bytes: readonly number[], bits: number): string {
  if (bits === 32) return bytes.join(".");
  return `${bytes.map((byte, index) => (index < bits / 8 ? byte : 0)).join(".")}/${bits}`;
}

/** The eight groups of a valid IPv6 address. The URL parser writes it in one form; a zone (RFC 4007) is no part of it. */
function groupsOf(ip: string): number[] {
  const host = new URL(`http://[${ip.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const [head = "", tail] = host.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = Array<string>(8 - front.length - back.length).fill("0");
  return [...front, ...middle, ...back].map((group) => Number.parseInt(group, 16));
}
