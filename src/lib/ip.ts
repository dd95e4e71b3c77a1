import { isIP, isIPv4 } from "node:net";

export type IpFamily = "ipv4" | "ipv6";

/**
 * The address in the one form in which addresses are compared; undefined if the text is no address. IPv4-mapped IPv6
 * (::ffff:192.0.2.1, RFC 4291, 2.5.5.2) becomes IPv4, because a dual-stack socket shows an IPv4 client in this form.
 * Zone ids (RFC 4007) are refused.
 */
export function normalizeIp(text: string): string | undefined {
  if (isIP(text) === 0 || text.includes("%")) return undefined;
  return mappedIpv4(text) ?? text;
}

/** @param address valid */
export function familyOf(address: string): IpFamily {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

/** Number of bits of an address of a family. */
export function widthOf(family: IpFamily): 32 | 128 {
  return family === "ipv4" ? 32 : 128;
}

/** The address as a number. @param address valid, without a zone id */
export function ipValue(address: string): bigint {
  return isIPv4(address) ? ipv4Value(address) : ipv6Value(address);
}

/**
 * The network that contains an address, in one spelling. A text that is no address is returned unchanged. A zone (RFC
 * 4007) is ignored.
 *
 * @param ipv4Bits prefix length for IPv4, a multiple of 8; 32 returns the address
 * @param ipv6Bits prefix length for IPv6
 */
export function prefixOf(ip: string, ipv4Bits: number, ipv6Bits: number): string {
  const address = normalizeIp(ip.replace(/%.*$/, ""));
  if (address === undefined) return ip;
  if (isIPv4(address)) {
    const bytes = address.split(".").map((byte, at) => (at < ipv4Bits / 8 ? byte : "0"));
    return ipv4Bits === 32 ? address : `${bytes.join(".")}/${ipv4Bits}`;
  }
  const hostBits = BigInt(128 - ipv6Bits);
  const network = (ipValue(address) >> hostBits) << hostBits;
  const groupAt = (at: number) => ((network >> BigInt(112 - 16 * at)) & 0xffffn).toString(16);
  return `${Array.from({ length: Math.ceil(ipv6Bits / 16) }, (_, at) => groupAt(at)).join(":")}::/${ipv6Bits}`;
}

/**
 * The networks that contain an address, the widest first. IPv4: the /24, then the address. IPv6: the /48, /56 and /64,
 * which are what a site, a home and a link get (RFC 6177). A caller with one address of a /64 has all of them. A text
 * that is no address stands for itself.
 */
export function networksOf(ip: string): string[] {
  return [...new Set([prefixOf(ip, 24, 48), prefixOf(ip, 32, 56), prefixOf(ip, 32, 64)])];
}

function mappedIpv4(text: string): string | undefined {
  if (!text.includes(":")) return undefined;
  const value = ipv6Value(text);
  if (value >> 32n !== 0xffffn) return undefined;
  const low = Number(value & 0xffffffffn);
  return [24, 16, 8, 0].map((shift) => (low >>> shift) & 255).join(".");
}

function ipv4Value(address: string): bigint {
  return address.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

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
