/**
 * SHARES. Divides a bounded resource fairly among its holders, and says which waiting holder is next. Pure: no clock,
 * no I/O, no knowledge of calls.
 *
 *   holder.ts       names the holder that something belongs to
 *   fair-gate.ts    a bounded semaphore: its queue serves holders in turn; for work that needs a place to begin
 *   fair-room.ts    a bounded set: when it is full, a member of the largest holder gives way; for existing things
 *   by-size.ts      finds the largest group
 *   named-locks.ts  mutual exclusion by name, in the order of arrival
 *
 * A total alone does not bound one caller: a caller that uses all of it keeps the others out. So each holder has a
 * bound too, waiting holders are served in turn, and the holder with the most gives way first. While no other holder
 * asks, a holder may use everything up to its own bound.
 */
import { networksOf } from "../lib/ip.ts";

/**
 * The owner of something, as names from the widest group to the narrowest. The groups of one level share equally. So a
 * network with many addresses counts as one network, and each address as a part of its network.
 */
export type Holder = readonly [string, ...string[]];

/** A request for a shared resource: its holder, and the signal that ends the request. */
export interface Asker {
  readonly holder: Holder;
  /** Aborts when the call ends. Without it, the work goes on after its client has gone. */
  readonly signal?: AbortSignal;
  /** Whether the call was let in before. If so, it may wait even if its holder's queue is full. */
  readonly isUnderWay?: boolean;
}

/** The kinds of holders, for counts. */
export const CALLER_CLASSES = ["service", "user", "anonymous", "itself"] as const;
export type CallerClass = (typeof CALLER_CLASSES)[number];

/** The kind of a holder. */
export function classOf([widest, id]: Holder): CallerClass {
  if (widest === "itself" || widest === "anonymous") return widest;
  return id?.startsWith("usr_") ? "user" : "service";
}

/** The holder for the work of a part of the service itself. No call waits for this work. */
export function itself(part: string): Holder {
  return ["itself", part];
}

/** The holder of a caller with a credential: a user or a service. */
export function knownHolder(id: string): Holder {
  return ["known", id];
}

/** Maximum addresses whose holders are remembered, because finding an address's networks takes as long as a verdict. */
const MAX_REMEMBERED = 1000;
const remembered = new Map<string, Holder>();

/** The holder of a caller that is known only by its address. */
export function addressHolder(ip: string): Holder {
  let holder = remembered.get(ip);
  if (holder === undefined) {
    holder = networkHolder(networksOf(ip));
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(ip, holder);
  }
  return holder;
}

/** The holder of a caller that is known only by its networks, the widest first. */
export function networkHolder(networks: readonly string[]): Holder {
  return ["anonymous", ...networks];
}

const KIND = "kind ";

/** One kind of a holder's work. Kinds are served in turn too, so that a flood of one kind does not block the others. */
export function ofKind(holder: Holder, kind: string): Holder {
  return [...holder, `${KIND}${kind}`];
}

/** Whether a group is one kind of a holder's work. */
export function isKind(group: readonly string[]): boolean {
  return group.at(-1)?.startsWith(KIND) ?? false;
}
