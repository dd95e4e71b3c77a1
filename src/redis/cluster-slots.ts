import { SLOTS } from "./slot.ts";

/**
 * Maximum primaries of a cluster: more than the Redis Cluster specification is designed for. Each primary gets a
 * connection.
 */
const MOST_PRIMARIES = 1_000;
/** A host name, an address, or "?" if it is unknown. It appears in the log. */
const HOST = /^(\?|[A-Za-z0-9_.:-]{0,255})$/;

/**
 * Whether a reply is a valid answer to CLUSTER SLOTS. The client loops from the first to the last slot of a reply
 * without checking it. Without this check, a reply of another form ends the process, and a large number stalls it.
 */
export function isSlotsReply(reply: unknown): boolean {
  if (!Array.isArray(reply) || !reply.every(isRange)) return false;
  const ranges = reply as [number, number, [string | null, number]][];
  const slots = ranges.reduce((sum, [first, last]) => sum + Math.max(0, last - first + 1), 0);
  const primaries = new Set(ranges.map(([, , [host, port]]) => `${host}:${port}`));
  return slots <= SLOTS && primaries.size <= MOST_PRIMARIES;
}

/** The first slot, the last slot, then the nodes that serve them, the primary first. */
function isRange(range: unknown): boolean {
  if (!Array.isArray(range)) return false;
  const [first, last, ...nodes] = range as unknown[];
  return isUpTo(SLOTS - 1, first) && isUpTo(SLOTS - 1, last) && nodes.length > 0 && nodes.every(isNode);
}

/** Host, port, and more in newer versions. A host that is null or empty is unknown to the cluster. */
function isNode(node: unknown): boolean {
  if (!Array.isArray(node)) return false;
  const [host, port] = node as unknown[];
  return (host === null || (typeof host === "string" && HOST.test(host))) && isUpTo(65_535, port);
}

function isUpTo(most: number, value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
