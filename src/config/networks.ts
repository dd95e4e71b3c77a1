import { familyOf, type IpFamily, ipValue, normalizeIp, widthOf } from "../lib/ip.ts";

/** A range of addresses as numbers, both ends included. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** Bits in front of the IPv4 address in IPv4-mapped IPv6. */
const MAPPED_BITS = 96;

/** The addresses from which clients on the Internet come. */
const CLIENTS: Readonly<Record<IpFamily, string>> = { ipv4: "0.0.0.0/0", ipv6: "2000::/3" };
/** Addresses of no client on the Internet (RFC 6890). Networks cover every client even if they leave these out. */
const SPECIAL: Readonly<Record<IpFamily, readonly string[]>> = {
  ipv4: [
    ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
    ...["192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"],
    "224.0.0.0/3",
  ],
  ipv6: ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
};

/** A network, or an address as a network of one. IPv4-mapped IPv6 is read as the IPv4 address in it. */
export function proxyNetwork(value: string): string {
  const [base = "", bits, ...rest] = value.split("/");
  const address = normalizeIp(base);
  const written = base.includes(":") ? 128 : 32;
  const isNumber = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= written);
  if (address === undefined || rest.length > 0 || !isNumber) throw new Error("must be networks such as 10.0.0.0/8");
  const width = widthOf(familyOf(address));
  const prefix = Number(bits ?? written) - (written - width);
  if (prefix < 0) throw new Error(`must be networks: IPv4-mapped ones have a prefix of ${MAPPED_BITS} to 128 bits`);
  return `${address}/${prefix}`;
}

/** Whether networks together cover every client of a family, such as 0.0.0.0/0, or 0.0.0.0/1 with 128.0.0.0/1. */
export function coverEveryClient(networks: readonly string[]): boolean {
  return (["ipv4", "ipv6"] as const).some((family) => {
    const named = networks.filter((network) => familyOf(network.split("/")[0]!) === family);
    return named.length > 0 && covers([...named, ...SPECIAL[family]].map(rangeOf), rangeOf(CLIENTS[family]));
  });
}

function covers(ranges: readonly Range[], whole: Range): boolean {
  let next = whole.first;
  for (const { first, last } of ranges.toSorted((one, other) => (one.first < other.first ? -1 : 1))) {
    if (first > next) return false;
    if (last >= next) next = last + 1n;
    if (next > whole.last) return true;
  }
  return false;
}

function rangeOf(network: string): Range {
  const [base = "", bits] = network.split("/");
  const size = 1n << BigInt(widthOf(familyOf(base)) - Number(bits));
  const first = (ipValue(base) / size) * size;
  return { first, last: first + size - 1n };
}
