import { BlockList } from "node:net";
import { familyOf, ipValue, normalizeIp, widthOf } from "../lib/ip.ts";

/*
 * Allow-lists of networks. They fail closed: a list without an address to judge matches nothing. An IPv4 address in
 * IPv6 clothing (::ffff:192.0.2.1, RFC 4291 2.5.5.2) is judged as IPv4, so that it can't slip past a list.
 */

/** What is wrong with one entry of an allow-list, or undefined. An address alone stands for itself. */
export function networkFault(entry: string): string | undefined {
  const [base = "", bits, ...rest] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined || rest.length > 0) return "must be a network such as 192.0.2.0/24 or 2001:db8::/32";
  if (address !== base && bits !== undefined) return "must be written as IPv4, not as IPv4-mapped IPv6";
  if (bits === undefined) return undefined;
  const width = widthOf(familyOf(address));
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > width) return `must have a prefix of 0 to ${width} bits`;
  return hasHostBits(address, width, Number(bits)) ? "must have no bits set behind its prefix" : undefined;
}

/** One spelling for entries that mean the same; what is malformed stays as it is. */
export function canonicalNetwork(entry: string): string {
  const [base = "", bits] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined) return entry;
  const family = familyOf(address);
  return `${family} ${ipValue(address).toString(16)}/${bits ?? widthOf(family)}`;
}

/** A list made ready for judging. @param entries each without a networkFault */
export function compileNetworks(entries: readonly string[]): (ip: string) => boolean {
  // Most keys have no list, and a BlockList of their own would be most of what they take in memory.
  if (entries.length === 0) return matchesNothing;
  // One list per family: a BlockList would find an IPv4 address in an IPv6 network that holds all mapped ones.
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
