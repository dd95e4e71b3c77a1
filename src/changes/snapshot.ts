/**
 * Snapshots of PostgreSQL as text: `xmin:xmax:` and then the transactions that were under way between the two. Every
 * transaction below xmax that is not named there was complete, so the snapshot sees it if it was committed.
 */

/**
 * The position of a snapshot: the number of transactions that were complete in it. Of two snapshots of one epoch, the
 * one of the greater or equal position sees everything that the other sees. xmin would not do: it stands still while an
 * old transaction is open, although later snapshots see more. See ADR 38.
 */
export function positionOf(snapshot: string): bigint {
  const [, xmax, underWay] = partsOf(snapshot);
  return BigInt(xmax) - BigInt(underWay === "" ? 0 : underWay.split(",").length);
}

/** The lowest transaction id that a snapshot certainly does not see. */
export function xmaxOf(snapshot: string): bigint {
  return BigInt(partsOf(snapshot)[1]);
}

function partsOf(snapshot: string): [xmin: string, xmax: string, underWay: string] {
  return snapshot.split(":") as [string, string, string];
}
