import { BlockList, isIP, isIPv4 } from "node:net";

/*
 * Allow-lists of networks. They fail closed: a list without an address to judge matches nothing. An IPv4 address in
 * IPv6 clothing (::ffff:192.0.2.1, RFC 4291 2.5.5.2) is judged as IPv4, so that it can't slip past a list.
 */

/** An address in the one form that it is compared in; undefined if it is none. Zone ids (RFC 4007) are refused. */
export function normalizeIp(text: string): string | undefined {
  if (isIP(text) === 0 || text.includes("%")) return undefined;
  return mappedIpv4(text) ?? text;
}

/** What is wrong with one entry of an allow-list, or undefined. An address alone stands for itself. */
export function networkFault(entry: string): string | undefined {
  const [base = "", bits, ...rest] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined || rest.length > 0) return "must be a network such as 192.0.2.0/24 or 2001:db8::/32";
  if (address !== base && bits !== undefined) return "must be written as IPv4, not as IPv4-mapped IPv6";
  if (bits === undefined) return undefined;
  const width = isIPv4(address) ? 32 : 128;
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > width) return `must have a prefix of 0 to ${width} bits`;
  return hasHostBits(address, width, Number(bits)) ? "must have no bits set behind its prefix" : undefined;
}

/** One spelling for entries that mean the same; what is malformed stays as it is. */
export function canonicalNetwork(entry: string): string {
  const [base = "", bits] = entry.split("/");
  const address = normalizeIp(base);
  if (address === undefined) return entry;
  const value = isIPv4(address) ? ipv4Value(address) : ipv6Value(address);
  return `${familyOf(address)} ${value.toString(16)}/${bits ?? (isIPv4(address) ? 32 : 128)}`;
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

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

function mappedIpv4(text: string): string | undefined {
  if (!text.includes(":")) return undefined;
  const value = ipv6Value(text);
  if (value >> 32n !== 0xffffn) return undefined;
  const low = Number(value & 0xffffffffn);
  return [24, 16, 8, 0].map((shift) => (low >>> shift) & 255).join(".");
}

function hasHostBits(address: string, width: number, bits: number): boolean {
  const value = width === 32 ? ipv4Value(address) : ipv6Value(address);
  return (value & ((1n << BigInt(width - bits)) - 1n)) !== 0n;
}

function ipv4Value(address: string): bigint {
  return address.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** @param address valid IPv6 */
function ipv6Value(address: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const hex = dotted === null ? address : `${dotted[1]}${groups(ipv4Value(dotted[2]!))}`;
  const [head = "", tail] = hex.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = Array<string>(8 - front.length - back.length).fill("0");
  return [...front, ...middle, ...back].reduce((value, part) => (value << 16n) | BigInt(`0x${part}`), 0n);
}

function groups(value: bigint): string {
  return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}
