import { BlockList } from "node:net";
import { familyOf, ipValue, normalizeIp, widthOf } from "../lib/ip.ts";

/*
 * Allow-lists of networks. They fail closed: without a client address, a list matches nothing. An IPv4-mapped IPv6
 * address (::ffff:192.0.2.1, RFC 4291 2.5.5.2) is judged as IPv4, so that it can't bypass a list.
 */

/** The fault of one entry of an allow-list, or undefined. An address without a prefix matches only itself. */
export function networkFault(entry: string): string | undefined {
  const [base = "", bits, ...rest] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined || rest.length > 0) return "must be a network such as 192.0.2.0/24 or 2001:db8::/32";
  if (address !== base && bits !== undefined) return "must be written as IPv4, not as IPv4-mapped IPv6";
  if (bits === undefined) return undefined;
  const width = widthOf(familyOf(address));
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > width) return `must have a prefix of 0 to ${width} bits`;
  return hasHostBits(address, width, Number(bits)) ? "must have no bits set after its prefix" : undefined;
}

/** One spelling for all entries with the same meaning. A malformed entry stays as it is. */
export function canonicalNetwork(entry: string): string {
  const [base = "", bits] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined) return entry;
  const family = familyOf(address);
  return `${family} ${ipValue(address).toString(16)}/${bits ?? widthOf(family)}`;
}

/**
 * Compiles a list to a function that tells whether it contains an address.
 *
 * @param entries each without a networkFault
 */
export function compileNetworks(entries: readonly string[]): (ip: string) => boolean {
  // Most keys have no list, and a BlockList for each would need most of their memory.
  if (entries.length === 0) return matchesNothing;
  // One list for each family: a BlockList finds an IPv4 address in an IPv6 network that contains all mapped addresses.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const entry of entries) {
    const [base = "", bits] = entry.split("/");
    const address = normalizeIp(base) ?? base;
    const family = familyOf(address);
    if (bits === undefined) lists[family].addAddress(address, family);
    else lists[family].addSubnet(address, Number(bits), family);
  }
  return (ip) => {
    const address = normalizeIp(ip);
    return address !== undefined && lists[familyOf(address)].check(address, familyOf(address));
  };
}

function matchesNothing(): boolean {
  return false;
}

function hasHostBits(address: string, width: number, bits: number): boolean {
  return (ipValue(address) & ((1n << BigInt(width - bits)) - 1n)) !== 0n;
}
