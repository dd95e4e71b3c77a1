import { networksOf } from "../../lib/ip.ts";
import { type CountedNetwork, LOGIN_LIMITS } from "./login-limits.ts";

/**
 * The address for the limit of one address: an IPv4 address or an IPv6 /64. A caller with one address of a /64 has all
 * 2^64 of them (RFC 4291, 2.5.4). A text that is not an address stands for itself.
 */
export function addressOf(ip: string): string {
  return networksOf(ip).at(-1)!;
}

/**
 * The network that a login comes from: a /24 of IPv4 or a /48 of IPv6. These are the smallest networks that providers
 * route separately, so one network is about one site, or one street of a provider.
 *
 * Smaller networks would lock out people whose provider gives them another address each day. They would also let the
 * holder of a /48, which is easy to get, count as 65,536 different callers. Larger networks would count strangers as
 * neighbours.
 */
export function networkOf(ip: string): string {
  return networksOf(ip)[0]!;
}

/**
 * The networks that contain the address: the /24 of IPv4, or the /56 and the /48 of IPv6 (RFC 6177). Their hashes are
 * counted too, because a caller who has a network has all of its addresses.
 */
export function countedNetworks(ip: string, addressHashes: number): CountedNetwork[] {
  const { siteHashFactor, networkHashFactor } = LOGIN_LIMITS;
  const [widest, ...narrower] = networksOf(ip).slice(0, -1);
  if (widest === undefined) return [];
  const sites = narrower.map((name) => ({ name, hashes: addressHashes * siteHashFactor }));
  return [...sites, { name: widest, hashes: addressHashes * networkHashFactor }];
}
