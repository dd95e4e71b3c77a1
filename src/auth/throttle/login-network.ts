import { networksOf } from "../../lib/ip.ts";
import { type CountedNetwork, LOGIN_LIMITS } from "./login-limits.ts";

/**
 * Whose address it is, for the limit per address: an IPv4 address is one, and so is an IPv6 /64, since whoever has one
 * address of it has all 2^64 (RFC 4291, 2.5.4). What is no address at all stands for itself.
 */
export function addressOf(ip: string): string {
  return networksOf(ip).at(-1)!;
}

/**
 * From which network a login comes: /24 of IPv4, /48 of IPv6. These are the smallest that are routed on their own
 * between providers, so that one network is about one site or one provider's street. Smaller would lock people out whose
 * provider gives them another address each day, and let who has a /48 (65,536 /64s, for the asking) be as many
 * strangers; larger would let strangers in as neighbours.
 */
export function networkOf(ip: string): string {
  return networksOf(ip)[0]!;
}

/**
 * The networks that the address is in, beyond the address itself: /24 of IPv4, /56 and /48 of IPv6 (RFC 6177). Their hashes
 * are counted too, because a caller with a network has all of its addresses.
 */
export function countedNetworks(ip: string, addressHashes: number): CountedNetwork[] {
  const { siteHashFactor, networkHashFactor } = LOGIN_LIMITS;
  const [widest, ...narrower] = networksOf(ip).slice(0, -1);
  if (widest === undefined) return [];
  const sites = narrower.map((name) => ({ name, hashes: addressHashes * siteHashFactor }));
  return [...sites, { name: widest, hashes: addressHashes * networkHashFactor }];
}
