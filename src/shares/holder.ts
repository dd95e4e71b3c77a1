/**
 * SHARES. Who holds how much of what is bounded, and who is served next. Pure: no clock, no I/O, nothing about calls.
 *
 *   holder.ts       whom something belongs to
 *   fair-gate.ts    a bounded semaphore with a queue that serves holders in turn: work that needs a place to begin
 *   fair-room.ts    a bounded set from which the largest holder gives way: things that are there already; by-size.ts
 *                   finds the largest
 *
 * A total alone does not bound a caller: one who fills it keeps everyone else out. So each bound is also one per holder,
 * waiting holders are served in turn, and the holder with the most gives way first. While nobody else asks, a holder may
 * use everything up to its own bound.
 */
import { isIPv4, isIPv6 } from "node:net";
import { prefixOf } from "../lib/ip.ts";

/**
 * Whom something belongs to, as names from the widest group to the narrowest. Groups of one level share with each other
 * as equals, so that a network with many addresses is one among the networks, and each address one among its own.
 */
export type Holder = readonly [string, ...string[]];

/** A caller that is known by a credential: a user or a service. */
export function knownHolder(id: string): Holder {
  return ["known", id];
}

/** Addresses whose holders are remembered: to find the networks of one takes as long as a verdict. */
const MAX_REMEMBERED = 1000;
const remembered = new Map<string, Holder>();

/**
 * A caller that is known by its address alone. IPv4: the /24, then the address. IPv6: the /48, /56 and /64, which are what
 * a site, a home and a link get (RFC 6177); whoever has one address of a /64 has all of them.
 */
export function addressHolder(ip: string): Holder {
  let holder = remembered.get(ip);
  if (holder === undefined) {
    holder = ["anonymous", ...networksOf(ip)];
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(ip, holder);
  }
  return holder;
}

/** The networks that an address is in, the widest first. What is no address stands for itself. */
export function networksOf(ip: string): string[] {
  const isIp = isIPv4(ip) || isIPv6(ip);
  if (!isIp) return [ip];
  const [widest, middle, narrowest] = [prefixOf(ip, 24, 48), prefixOf(ip, 32, 56), prefixOf(ip, 32, 64)];
  return middle === narrowest ? [widest, narrowest] : [widest, middle, narrowest];
}
