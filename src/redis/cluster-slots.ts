import { SLOTS } from "./slot.ts";

/** More than the Redis Cluster specification is made for. Each of them gets a connection. */
const MOST_PRIMARIES = 1_000;
/** A name, an address, or "?" where it is unknown: it is told in the log. */
const HOST = /^(\?|[A-Za-z0-9_.:-]{0,255})$/;

/**
 * Whether a reply is one of CLUSTER SLOTS. The client goes through whatever it is told without looking, from the first
 * slot to the last: without this check a reply of another form ends the process, and a large number stalls it.
 */
export function isSlotsReply(reply: unknown): boolean {
  if (!Array.isArray(reply) || !reply.every(isRange)) return false;
  const ranges = reply as [number, number, [string | null, number]][];
  const slots = ranges.reduce((sum, [first, last]) => sum + Math.max(0, last - first + 1), 0);
  const primaries = new Set(ranges.map(([, , [host, port]]) => `${host}:${port}`));
  return slots <= SLOTS && primaries.size <= MOST_PRIMARIES;
}

/** First slot, last slot, then the nodes that serve them, the primary first. */
function isRange(range: unknown): boolean {
  if (!Array.isArray(range)) return false;
  const [first, last, ...nodes] = range as unknown[];
  return isUpTo(SLOTS - 1, first) && isUpTo(SLOTS - 1, last) && nodes.length > 0 && nodes.every(isNode);
}

/** Host, port, and what a version adds. A host that is null or empty is one that the cluster does not know. */
function isNode(node: unknown): boolean {
  if (!Array.isArray(node)) return false;
  const [host, port] = node as unknown[];
  return (host === null || (typeof host === "string" && HOST.test(host))) && isUpTo(65_535, port);
}

function isUpTo(most: number, value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
